"The doctor sees planted faults, says the one thing to do, and never a secret."
import os, subprocess, sys
import pytest
from medqa_nb.core.config import Config
from medqa_nb.core.doctor import check_base, check_clashes, check_keys, check_store, doctor, doctor_html
from servers import gate_route, serving

def red(lines): return {o['check']:o['what to do'] for o in lines if not o['ok']}

def test_tokens_and_licences(monkeypatch):
    "Absent, wrong, without the licence, and fine: four answers, and the token in none of them"
    from huggingface_hub import HfApi
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    cfg = Config().update(dict(model=dict(base='meta-llama/Llama-9'), gpu=dict(profile='t4')))
    with serving(gate_route, good={'hf_new_secret', 'hf_ok_secret'}, accepted={'hf_ok_secret'}, bytes=10) as s:
        def ask(token):
            monkeypatch.setattr('huggingface_hub.get_token', lambda: token)
            monkeypatch.setenv('HF_TOKEN', token) if token else monkeypatch.delenv('HF_TOKEN', raising=False)
            lines = check_base(cfg, HfApi(endpoint=s.url, token=token))
            assert 'secret' not in str(lines)
            return red(lines)
        assert 'HF_TOKEN is missing' in ask(None)['base model']
        assert 'wrong or has expired' in ask('hf_bad_secret')['base model']
        assert 'accept it at https://huggingface.co/meta-llama/Llama-9' in ask('hf_new_secret')['base model']
        assert ask('hf_ok_secret') == {}

def test_no_network(monkeypatch):
    "A closed network is a line, and nothing hangs"
    import medqa_nb.core.doctor as d
    monkeypatch.setattr(d, 'check_access', lambda path, api=None: None)
    monkeypatch.setattr(d.socket, 'create_connection', lambda *a: (_ for _ in ()).throw(OSError('unreachable')))
    lines = check_base(Config().update(dict(model=dict(base='me/model'), gpu=dict(profile='t4'))))
    assert list(red(lines)) == ['network'] and 'not asked' in lines[-1]['found']

@pytest.mark.parametrize('found,loaded,name', [(dict(numpy='2.2.0'), dict(numpy='2.1.3'), 'replaced'), (dict(torch='2.15.0+cu132'), dict(torch='2.11.0+cu130'), 'replaced'), (dict(datasets='4.0.0'), {}, 'datasets')])
def test_versions_that_clash(found, loaded, name): assert list(red(check_clashes(found, loaded))) == [name]

def test_ipywidgets_on_colab(monkeypatch):
    import medqa_nb.core.doctor as d
    monkeypatch.setattr(d, 'in_colab', lambda: True)
    assert 'ipywidgets==7.7.1' in red(check_clashes(dict(ipywidgets='8.1.7'), {}))['ipywidgets'] and not red(check_clashes(dict(ipywidgets='7.7.1'), {}))

def test_a_store_that_is_no_folder(monkeypatch, tmp_path):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('MEDQA_ROOT', str(tmp_path/'file'))
    assert 'MEDQA_ROOT' in check_store()['what to do']

def test_keys_are_not_shown(monkeypatch, tmp_path, capsys):
    "Neither in the table, nor in the page, nor in what is printed or written"
    from medqa_nb.core.runs import Run
    monkeypatch.setenv('HF_TOKEN', 'hf_visible_nowhere'); monkeypatch.setenv('ANTHROPIC_API_KEY', 'sk-ant-visible-nowhere')
    run = Run.open(str(tmp_path/'r'), flags=dict(augmentation=dict(method='claude')))
    t = doctor(run)
    assert 'ANTHROPIC_API_KEY' in set(t.check) and t.ok.all()
    written = ''.join(p.read_text(errors='ignore') for p in tmp_path.rglob('*') if p.is_file())
    for s in (t.to_string(), doctor_html(t), capsys.readouterr().out, written): assert 'visible' not in s
    monkeypatch.delenv('ANTHROPIC_API_KEY')
    assert list(red(check_keys(run.config))) == ['ANTHROPIC_API_KEY']

def test_the_old_torchao_of_colab(tmp_path):
    "With torchao 0.10 beside it PEFT refuses to place an adapter; with this package imported it does not see it"
    (tmp_path/'torchao').mkdir(); (tmp_path/'torchao/__init__.py').write_text('__version__ = "0.10.0"')
    (tmp_path/'torchao-0.10.0.dist-info').mkdir(); (tmp_path/'torchao-0.10.0.dist-info/METADATA').write_text('Metadata-Version: 2.1\nName: torchao\nVersion: 0.10.0\n')
    code = '''
import sys
if sys.argv[1] == 'ours': import medqa_nb.core.models
from transformers import LlamaConfig, LlamaForCausalLM
from peft import LoraConfig, get_peft_model
m = LlamaForCausalLM(LlamaConfig(vocab_size=32, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2))
get_peft_model(m, LoraConfig(target_modules=['q_proj'])); print('placed')'''
    env = {**os.environ, 'PYTHONPATH':os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])}
    run = lambda who: subprocess.run([sys.executable, '-c', code, who], capture_output=True, text=True, env=env)
    without,ours = run('peft'),run('ours')
    assert 'incompatible version of torchao' in without.stderr and ours.stdout.strip() == 'placed', ours.stderr[-800:]
