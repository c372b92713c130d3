"Every foreseeable mistake is one line on stderr and status 2, and leaves nothing half-written."
import contextlib, io, os, tarfile
from pathlib import Path
import pytest
from medqa_nb.cli import main
from medqa_nb.core.files import assets, read_json, read_table

def medqa(*args):
    "Run a command here; returns status, stdout, stderr"
    out,err = io.StringIO(),io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err): code = main([str(a) for a in args])
    return code, out.getvalue(), err.getvalue()

@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv('MEDQA_ROOT', str(tmp_path/'root')); (tmp_path/'root').mkdir()
    monkeypatch.delenv('HF_TOKEN', raising=False)
    monkeypatch.setattr('huggingface_hub.get_token', lambda: None)
    return tmp_path/'root'

def write(p, text): p.write_text(text); return p

CASES = {
    'no such source': lambda d: (['data', '--run', 'x', '--source', d/'nowhere'], 'nowhere'),
    'an archive that is not one': lambda d: (['data', '--run', 'x', '--source', write(d/'a.tar.gz', 'no archive')], 'a.tar.gz'),
    'an empty folder': lambda d: (['data', '--run', 'x', '--source', d], str(d)),
    'an unknown key': lambda d: (['data', '--run', 'x', '--config', write(d/'c.yaml', 'lora: {rnak: 8}')], 'did you mean rank?'),
    'an unknown section': lambda d: (['data', '--run', 'x', '--config', write(d/'c.yaml', 'loar: {rank: 8}')], 'did you mean lora?'),
    'a value of the wrong type': lambda d: (['data', '--run', 'x', '--config', write(d/'c.yaml', 'training: {epochs: many}')], 'training.epochs'),
    'an unknown type of question': lambda d: (['data', '--run', 'x', '--source', 'sample', '--set', 'data.question_types=Horoscope'], 'choose from'),
    'no YAML': lambda d: (['data', '--run', 'x', '--config', write(d/'c.yaml', 'a: [')], 'c.yaml'),
    'no config file': lambda d: (['data', '--run', 'x', '--config', d/'none.yaml'], 'none.yaml'),
    'rank 0': lambda d: (['train', '--run', 'x', '--lora_rank', '0'], 'lora.rank'),
    'rank abc': lambda d: (['train', '--run', 'x', '--lora_rank', 'abc'], "'abc'"),
    'two run names': lambda d: (['train', '--run', 'x', '--experiment_name', 'y'], 'different runs'),
    'no base model': lambda d: (['train', '--run', 'x', '--set', f'model.base={d/"nomodel"}'], 'nomodel'),
    'no token for a gated base': lambda d: (['train', '--run', 'x', '--set', 'model.base=meta-llama/Llama-3.1-8B-Instruct'], 'HF_TOKEN is missing'),
    'no GPU, base there': lambda d: (['train', '--run', 'x', '--set', 'gpu.profile=t4', '--set', f'model.base={assets("tiny")}'], 'torch sees no GPU'),
    'a metric that no base has': lambda d: (['train', '--run', 'x', '--set', 'training.metric=rouge'], 'choose from loss'),
    'a module that no base has': lambda d: (['train', '--run', 'x', '--set', 'lora.modules_to_save=lm_haed'], 'did you mean lm_head?'),
    'a matrix that no base has': lambda d: (['train', '--run', 'x', '--set', 'lora.target_modules=q_porj'], 'did you mean q_proj?'),
    'a backup beside the base': lambda d: (['train', '--run', 'x', '--set', 'training.backup=mine'], 'is no repository'),
    'an unknown flag': lambda d: (['train', '--rnk', '3'], '--rnk'),
    'an unknown command': lambda d: (['trian'], 'trian'),
    'a bad run name': lambda d: (['data', '--run', 'my run'], 'my run'),
    'an unknown run': lambda d: (['status', '--run', 'x'], 'x'),
}

@pytest.mark.parametrize('case', CASES)
def test_one_line_and_status_2(case, root, tmp_path):
    bad = tmp_path/'bad'; bad.mkdir()
    args,word = CASES[case](bad)
    code,out,err = medqa(*args)
    assert code == 2
    assert err.startswith('medqa: ') and err.count('\n') == 1, err
    assert word in err, err
    assert not list(Path(root).rglob('*.part')) and not list(Path(root).rglob('training/report.json'))
    if 'base' not in case: assert not list(Path(root).rglob('report.json')), 'no stage has run'

def test_settings_of_a_finished_stage_are_kept(root):
    assert medqa('data', '--run', 'x', '--source', 'sample')[0] == 0
    before = (root/'x/data/report.json').read_text()
    code,_,err = medqa('data', '--run', 'x', '--set', 'data.split_seed=9')
    assert code == 2 and 'data.split_seed (was 0, now 9)' in err
    assert (root/'x/data/report.json').read_text() == before

def test_cut_xml_is_named_and_the_rest_is_read(root, tmp_path):
    import shutil
    src = tmp_path/'src'; shutil.copytree(assets('sample'), src)
    victim = sorted(src.rglob('*.xml'))[0]
    victim.write_bytes(victim.read_bytes()[:-200])
    code,out,err = medqa('data', '--run', 'x', '--source', src)
    assert code == 0, err
    assert 'could not be read: ' in out and victim.name in out
    assert any(victim.name in o for o in read_json(root/'x/data/report.json')['broken'])
    assert read_json(root/'x/data/report.json')['files'] == len(list(src.rglob('*.xml')))

def test_a_missing_secret_says_what_to_set(root, monkeypatch):
    from medqa_nb.core.colab import secret
    from medqa_nb.core.files import MedqaError
    monkeypatch.delenv('ANTHROPIC_API_KEY', raising=False)
    with pytest.raises(MedqaError, match='ANTHROPIC_API_KEY'): secret('ANTHROPIC_API_KEY')
