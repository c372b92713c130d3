"From adapter to release: merged weights, GGUF, card, push; interrupted anywhere, refused in one line, and what comes out answers as what went in."
import hashlib, json, os, random, re, shutil, signal, subprocess, sys, time
from pathlib import Path
import pytest
from medqa_nb.core.config import Config, load_config
from medqa_nb.core.files import MedqaError, assets, read_json, sha256
from medqa_nb.core.runs import Run
from servers import releases_route, serving, wait_for

HERE,TOKENS = Path(__file__).resolve().parent,{'hf_mine':dict(name='me', type='user', orgs=[dict(name='clinic')], auth=dict(accessToken=dict(role='write'))), 'hf_read':dict(name='me', type='user', orgs=[], auth=dict(accessToken=dict(role='read')))}

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A run with data and an adapter whose B is not zero, as training leaves it"
    import torch
    torch.set_num_threads(1)
    from medqa_nb.data import build_data
    from medqa_nb.core.models import attach, lora_config
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM
    root = tmp_path_factory.mktemp('release')
    old,os.environ['MEDQA_ROOT'] = os.environ.get('MEDQA_ROOT'),str(root)
    run = Run.open('first', config=str(assets('quick_config.yaml')), flags=dict(release=dict(name='Llama-tiny-medqa-lora')))
    if old: os.environ['MEDQA_ROOT'] = old
    else: del os.environ['MEDQA_ROOT']
    build_data(run)
    torch.manual_seed(0)
    m = get_peft_model(AutoModelForCausalLM.from_pretrained(assets('tiny'), dtype=torch.float32), lora_config(run.config))
    for n,w in m.named_parameters():
        if 'lora_B' in n: torch.nn.init.normal_(w, std=.005)
    m.save_pretrained(run.path('training', 'adapter'))
    return run

@pytest.fixture
def run(trained, tmp_path):
    "A copy of it"
    shutil.copytree(trained.local, tmp_path/'first')
    return Run(tmp_path/'first', tmp_path/'first', Config().update(trained.config.to_dict()))

@pytest.fixture
def hub(monkeypatch):
    "The hub, and the real client without Xet, which wants a server of its own"
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_DISABLE_XET', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    from huggingface_hub import HfApi
    with serving(releases_route, repos={}, lfs={}, tokens=TOKENS, damage=False, slow=0) as s: yield s, lambda token='hf_mine': HfApi(endpoint=s.url, token=token)

def quiet(s): pass

def release(run, **kw):
    from medqa_nb.release import release
    return release(run, **{'say':quiet, **kw})

def test_everything_at_once_and_only_once(run, hub):
    "All parts, private, each in one commit; a second call does and sends nothing; nothing tells of this machine"
    s,api = hub
    run.config.update(dict(release=dict(formats='merged,gguf', gguf='f16,q8_0', push='adapter,merged,gguf,data', shard_gib=.003)))
    r = release(run, api=api())
    names = {k for _,k in s.repos}
    assert names == {'me/Llama-tiny-medqa-lora', 'me/Llama-tiny-medqa-merged', 'me/Llama-tiny-medqa-GGUF', 'me/Llama-tiny-medqa-data'}
    assert all(o['private'] and o['commits'] == 1 for o in s.repos.values())
    merged = s.repos['models', 'me/Llama-tiny-medqa-merged']['files']
    assert {f'model-0000{i}-of-00003.safetensors' for i in (1, 2, 3)} | {'config.json', 'tokenizer.json', 'README.md', 'release.json', 'model.safetensors.index.json'} <= set(merged)
    assert {'Modelfile', 'Llama-tiny-medqa-q8_0.gguf', 'Llama-tiny-medqa-f16.gguf'} <= set(s.repos['models', 'me/Llama-tiny-medqa-GGUF']['files'])
    assert {'train.parquet', 'README.md'} <= set(s.repos['datasets', 'me/Llama-tiny-medqa-data']['files']), 'the sample has an open licence'
    for o in s.repos.values():
        for n,b in o['files'].items():
            if n.endswith(('.json', '.md', '.yaml', 'Modelfile')): assert str(run.local).encode() not in b and str(assets()).encode() not in b, n
    stamp = run.path('release', 'report.json').stat().st_mtime_ns
    assert release(run, api=api()) == r and run.path('release', 'report.json').stat().st_mtime_ns == stamp
    run.path('release', 'report.json').unlink()
    again = release(run, api=api())
    assert [o['sent'] for o in again['pushed'].values()] == [0]*4 and all(o['commits'] == 1 for o in s.repos.values())

def test_merged_is_the_adapter_beside_its_base(run):
    "float32: within 1e-4 of base and adapter; the dequantised merge is what was trained in four bits; DoRA, too (core/50_merging)"
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from medqa_nb.core.merging import merge
    from medqa_nb.core.models import attach, load_base
    x = torch.randint(8, 4096, (4, 64), generator=torch.Generator().manual_seed(0))
    def logits(m):
        with torch.inference_mode(): return m.eval()(input_ids=x).logits
    adapter = run.path('training', 'adapter')
    load = lambda p: AutoModelForCausalLM.from_pretrained(p, dtype=torch.float32)
    want = dict(original=logits(PeftModel.from_pretrained(load(assets('tiny')), adapter)), dequantised=logits(attach(load_base(run.config)[0], adapter)))
    off = {}
    for into in want:
        merge(assets('tiny'), adapter, run.path('m', into), into, kind='F32', say=quiet)
        got = logits(load(run.path('m', into)))
        for other in want: off[into, other] = ((got - want[other]).norm()/want[other].norm()).item()
    assert off['original', 'original'] < 1e-4 and off['dequantised', 'dequantised'] < 1e-4, off
    assert off['original', 'dequantised'] > 1e-2, 'the choice makes a difference'

def test_prompt_ids_of_the_chat_are_those_of_training(trained, tmp_path):
    "What the trainer makes of a training row begins with exactly the ids that the chat sends, and there the loss begins"
    from medqa_nb.core.chat import stop_ids
    from medqa_nb.core.files import read_table
    from medqa_nb.core.planner import make_plan
    from medqa_nb.core.steps import build_trainer
    from medqa_nb.core.talk import Talk
    cfg = Config().update(trained.config.to_dict()).update(dict(training=dict(max_length=2048)))
    rows = read_table(trained.path('data', 'validation.parquet'))[:8]
    t,tok = build_trainer(cfg, make_plan(cfg), rows, rows, tmp_path, quiet)
    talk,seen = Talk(t.model, tok),set()
    for o in t.train_dataset:
        batch = t.data_collator([o])
        ids,n = batch['input_ids'][0].tolist(),(batch['labels'][0] != -100).int().argmax().item()
        question = next(q for q in rows.question if talk.fit(q)[1] == ids[:n])
        seen.add(question)
        assert ids[-1] in stop_ids(tok)
    assert seen == set(rows.question)

KILLED = """
import os, random, signal, sys, threading, time
from medqa_nb.core.config import Config
from medqa_nb.core.runs import Run
from pathlib import Path
import medqa_nb.release as r
from huggingface_hub import HfApi, constants
r.reload_check = lambda run: None # the same in every call, and slow
d,url,after = Path(sys.argv[1]),sys.argv[2],float(sys.argv[3])
from medqa_nb.core.config import load_config
run = Run(d, d, Config().update(load_config(d/'run.yaml')))
import torch, gguf, peft, bitsandbytes, pandas, transformers.utils
if after: threading.Timer(after, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
r.release(run, say=lambda s: None, api=HfApi(endpoint=url, token='hf_mine'))
print('DONE')
"""

def killed_release(d, url, after): # Folder of a run; address; seconds until it is killed, 0 for never. Returns whether it ended by itself
    "A release in a process of its own, killed"
    env = dict(os.environ, PYTHONPATH=str(HERE.parent), HF_HUB_DISABLE_XET='1', HF_HUB_OFFLINE='0', OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false')
    p = subprocess.run([sys.executable, '-c', KILLED, str(d), url, str(after)], env=env, capture_output=True, text=True, timeout=300)
    assert p.returncode in (0, -9), p.stderr[-3000:]
    return p.returncode == 0

def check_whole(run, s): # Nothing half is ever seen
    for (kind,name),o in s.repos.items():
        assert o['commits'] in (0, 1) and (not o['files'] or {'README.md', 'release.json'} <= set(o['files'])), (name, list(o['files']))
    for p in run.path('models').rglob('*.gguf'): assert read_whole(p), p

def read_whole(p):
    from gguf import GGUFReader
    return len(GGUFReader(p).tensors) >= 38

def test_killed_and_called_again(run, hub):
    "Killed once (bench/soak_release.py: fifty): never half a model, and the last call ends with what an uninterrupted one makes"
    s,api = hub
    s.slow = .05
    run.config.update(dict(release=dict(formats='merged,gguf', gguf='f16', push='adapter,merged,gguf', shard_gib=.001)))
    run.save_config()
    for after in (1.,):
        killed_release(run.local, s.url, after)
        check_whole(run, s)
    assert killed_release(run.local, s.url, 0)
    check_whole(run, s)
    assert all(o['commits'] == 1 and o['files'] for o in s.repos.values()) and len(s.repos) == 3
    assert not list(run.local.rglob('.*.part'))

BAD = {
    'no token': (dict(push='adapter'), None, 'HF_TOKEN is missing'),
    'a token that reads': (dict(push='adapter'), 'hf_read', 'may only read'),
    'a wrong token': (dict(push='adapter'), 'hf_none', 'answers 401: check HF_TOKEN'),
    'another account': (dict(push='adapter', account='somebody'), 'hf_mine', 'choose one of them'),
    'a name that is taken': (dict(push='adapter,merged', name='Llama-taken'), 'hf_mine', 'me/Llama-taken is taken by something else'),
    'public against the wish': (dict(push='adapter', name='Llama-public'), 'hf_mine', 'is public and release.private is true'),
    'a licence against the base': (dict(licence='mit'), 'hf_mine', 'contradicts the base model medqa_nb tiny base, whose licence is cc-by-4.0'),
    'no such format': (dict(formats='onnx'), 'hf_mine', 'choose from adapter, merged, gguf'),
    'no such type': (dict(formats='gguf', gguf='q9'), 'hf_mine', 'choose from f16'),
    'no quantiser': (dict(formats='gguf', gguf='q4_k_m'), 'hf_mine', 'needs llama.cpp'),
}

@pytest.mark.parametrize('case', BAD)
def test_refused_before_anything_is_made(case, run, hub, monkeypatch):
    s,api = hub
    monkeypatch.delenv('HF_TOKEN', raising=False)
    monkeypatch.setattr('medqa_nb.core.gguf_file.quantiser', lambda: None)
    s.repos = {('models', 'me/Llama-taken'):dict(private=True, files={'model.bin':b'x'}, commits=1), ('models', 'me/Llama-public'):dict(private=False, files={}, commits=0)}
    settings,token,words = BAD[case]
    run.config.update(dict(release=settings))
    with pytest.raises(MedqaError, match=re.escape(words)) as e: release(run, api=api(token) if token else None)
    assert '\n' not in str(e.value)
    assert not run.path('models').exists() and not run.path('release', 'report.json').exists() and not run.path('release', 'adapter_model.safetensors').exists()
    assert set(s.repos) == {('models', 'me/Llama-taken'), ('models', 'me/Llama-public')} and not s.lfs

def changed_adapter(run, f): # Called with (config, tensors)
    from safetensors.torch import load_file, save_file
    d = run.path('training', 'adapter')
    c,t = read_json(d/'adapter_config.json'),load_file(d/'adapter_model.safetensors')
    f(c, t)
    (d/'adapter_config.json').write_text(json.dumps(c)); save_file(t, d/'adapter_model.safetensors')

def test_adapters_that_cannot_be_merged(run):
    "Another base, mixed types, a kind that is not known: each one line, nothing begun"
    run.config.update(dict(release=dict(formats='merged')))
    key = 'base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight'
    keep = {f:(run.path('training', 'adapter', f)).read_bytes() for f in ('adapter_config.json', 'adapter_model.safetensors')}
    import torch
    for change,words in ((lambda c, t: t.update({key:torch.zeros(512, 16)}), 'belongs to another base model'), (lambda c, t: t.update({key:t[key].half()}), 'mixes the types F16, F32'), (lambda c, t: c.update(alpha_pattern={'q_proj':4}), 'alpha_pattern'),
                         (lambda c, t: c.update(peft_type='IA3'), 'cannot be merged here')):
        changed_adapter(run, change)
        with pytest.raises(MedqaError, match=words): release(run)
        shutil.rmtree(run.path('release'), ignore_errors=True)
        for f,b in keep.items(): run.path('training', 'adapter', f).write_bytes(b)
    (run.path('training')/'settings.json').write_text(json.dumps({'model.base':'meta-llama/Llama-3.1-8B-Instruct'}))
    with pytest.raises(MedqaError, match='the adapter was trained on meta-llama'): release(run)
    assert not run.path('models').exists()

def test_mixed_base_is_refused(run, tmp_path):
    "A base of two types, and one that is in four bits already"
    import torch
    from safetensors.torch import load_file, save_file
    from medqa_nb.core.merging import Merged
    base = tmp_path/'base'; shutil.copytree(assets('tiny'), base)
    t = load_file(base/'model.safetensors'); t['model.norm.weight'] = t['model.norm.weight'].float(); save_file(t, base/'model.safetensors')
    with pytest.raises(MedqaError, match='mixes the types F16, F32'): Merged(base, run.path('training', 'adapter'))
    c = read_json(base/'config.json'); (base/'config.json').write_text(json.dumps(dict(c, quantization_config=dict(quant_method='bitsandbytes'))))
    with pytest.raises(MedqaError, match='is stored in bitsandbytes'): Merged(base, run.path('training', 'adapter'))

@pytest.mark.parametrize('full', ['this disk', 'the store'])
def test_a_small_disk_is_told_before(full, run, tmp_path, monkeypatch):
    "Here, and in the store, which is another disk"
    import collections
    run.store = tmp_path/'drive'/'first'; run.store.mkdir(parents=True); run.save_config()
    run.config.update(dict(release=dict(formats='merged,gguf')))
    real,usage,stat = shutil.disk_usage,collections.namedtuple('usage', 'total used free'),os.stat
    there = lambda p: str(p).startswith(str(tmp_path/'drive'))
    monkeypatch.setattr('medqa_nb.core.merging.shutil.disk_usage', lambda p: usage(0, 0, 2**20) if there(p) == (full == 'the store') else real(p))
    class Stat:
        def __init__(self, s, dev): self.s,self.st_dev = s,dev
        def __getattr__(self, k): return getattr(self.s, k)
    monkeypatch.setattr('medqa_nb.core.merging.os.stat', lambda p, **kw: Stat(stat(p, **kw), -1 if there(p) else 1))
    with pytest.raises(MedqaError, match=f'merged in {full} and gguf in {full} take .*nothing was begun'): release(run)
    assert not run.path('models').exists()

def test_the_store_keeps_and_gives_back(run, tmp_path):
    "Large files go to the store with their ledger last; a fresh machine does not merge again, and opening a run does not bring 16 GB back"
    run.store = tmp_path/'drive'/'first'; run.store.mkdir(parents=True); run.save_config()
    run.config.update(dict(release=dict(formats='merged,gguf', gguf='q8_0')))
    release(run)
    assert (run.store/'models/merged/merge.json').exists() and (run.store/'models/gguf/Llama-tiny-medqa-q8_0.gguf').exists()
    assert not any(k.startswith('models/') for k in read_json(run.store/'snapshot.json'))
    before = {p.name:sha256(p) for p in run.path('models').rglob('*') if p.is_file()}
    shutil.rmtree(run.path('models')); run.path('release', 'report.json').unlink()
    said = []
    release(run, say=said.append)
    assert {p.name:sha256(p) for p in run.path('models').rglob('*') if p.is_file()} == before
    assert not any('.safetensors:' in l or '.gguf:' in l for l in said), said

def test_another_name_then_damage_on_the_way(run, hub):
    "After a refusal for the name another one will do; bytes that change on the way are noticed"
    s,api = hub
    s.repos['models', 'me/Llama-taken'] = dict(private=True, files={'model.bin':b'x'}, commits=1)
    run.config.update(dict(release=dict(push='adapter', name='Llama-taken')))
    with pytest.raises(MedqaError, match='choose another release.name'): release(run, api=api())
    s.damage = True
    run.config.update(dict(release=dict(name='Llama-free')))
    with pytest.raises(MedqaError, match='does not read back as it was sent'): release(run, api=api())
    assert not run.path('release', 'report.json').exists()

def test_the_card_is_valid_and_says_what_is_missing(run):
    "The hub's own library reads it; Llama's conditions are there; an absent evaluation is said, not filled"
    from huggingface_hub import ModelCard
    from medqa_nb.core.card import card
    c = ModelCard(card(run))
    c.data.to_dict()
    assert c.data.license == 'cc-by-4.0' and 'Not evaluated' in c.text and 'its safety is unknown' in c.text and 'cost and energy: not recorded' in c.text
    run.config.update(dict(model=dict(base='meta-llama/Llama-3.1-8B-Instruct'), release=dict(name='Llama-3.1-8B-medqa-lora')))
    c = ModelCard(card(run, 'merged', 'original', ('adapter', 'merged')))
    assert c.data.license == 'llama3.1' and c.data.base_model == 'meta-llama/Llama-3.1-8B-Instruct' and c.data.model_name.startswith('Llama')
    for words in ('Built with Llama', 'acceptable use policy', 'Copyright © Meta Platforms', 'not with this model', 'Out of scope', 'SHA-256'): assert words in c.text, words

def test_results_on_the_card_are_those_of_the_report(run):
    "model-index through the hub's classes, with intervals; a model that was not evaluated carries no results"
    from huggingface_hub import ModelCard
    from medqa_nb.core.card import card
    one = dict(mean=.5, ci95=[.4, .6])
    d = dict(mean=.1, ci95=[-.1, .3], p=.5, p_holm=1., n=10, verdict='unclear')
    run.path('evaluation').mkdir()
    run.path('evaluation', 'report.json').write_text(json.dumps(dict(systems=dict(base=dict(rougeL=one), tuned=dict(rougeL=one)), differences=dict(rougeL=d), metric='rougeL', alarms=['the interval contains 0'], n=10, groups=5, judge='rules', safety=None, forgetting=None)))
    c = ModelCard(card(run))
    assert [(r.metric_type, r.metric_value, r.metric_args) for r in c.data.eval_results] == [('rougeL', .5, dict(ci95=[.4, .6]))]
    assert '**Alarm:** the interval contains 0.' in c.text and '0.500 (0.400 to 0.600)' in c.text
    assert ModelCard(card(run, 'merged', 'dequantised')).data.eval_results and not ModelCard(card(run, 'merged', 'original')).data.eval_results

def test_chat_in_the_terminal(run, monkeypatch):
    "medqa chat: disclaimer first, one answer, status 0"
    run.save_config()
    p = subprocess.run([sys.executable, '-c', 'import sys; from medqa_nb.cli import main; sys.exit(main())', 'chat', '--run', str(run.local), '--question', 'What is anemia?'], capture_output=True, text=True, timeout=300, env=dict(os.environ, PYTHONPATH=str(HERE.parent), OMP_NUM_THREADS='1'))
    assert p.returncode == 0, p.stderr
    first,rest = p.stdout.split('\n', 1)
    assert first.startswith('This is no medical advice') and len(rest.strip()) > 20

def test_reproduce(run):
    "Hashes agree and the means come out again; a changed row, setting or adapter is named"
    from medqa_nb.core.restoring import experiment, fingerprint, learned_rows
    from medqa_nb.core.runs import read_plain
    from medqa_nb.evaluation import evaluate_run
    from medqa_nb.flows import reproduce
    run.config.update(dict(evaluation=dict(questions=4, max_new_tokens=6, safety=False, forgetting=[], resamples=100, nli='lexical', bertscore=None)))
    run.save_config()
    run.path('training', 'settings.json').write_text(json.dumps(read_plain({**experiment(run.config), 'training rows':fingerprint(learned_rows(run))})))
    evaluate_run(run, say=quiet)
    release(run)
    t = {o['what']:o for o in reproduce(run, say=quiet)}
    assert all(o['ok'] for k,o in t.items() if k != 'versions'), t
    assert 'means of tuned' in t and 'code of medqa_nb' in t and 'not recorded' in t['versions']['found'], 'this run has no checkpoint, and that is said'
    run.config.update(dict(training=dict(learning_rate=1e-3)))
    p = run.path('data', 'test.parquet'); p.write_bytes(p.read_bytes() + b' ')
    changed_adapter(run, lambda c, t: t.update({k:v*2 for k,v in t.items() if 'lora_B' in k}))
    t = {o['what']:o for o in reproduce(run, check_only=True)}
    assert not any(t[k]['ok'] for k in ('test rows', 'adapter', 'settings of training', 'released data/test.parquet')) and 'training.learning_rate (was' in t['settings of training']['found'] and t['training rows']['ok']

def test_damaged_release_is_made_again(run):
    "Files that are gone or cut do not count as done, and `reproduce` names them; chat takes the adapter of the last training, and says so if it cannot be read"
    from medqa_nb.core.talk import load_talk
    from medqa_nb.flows import compare_facts
    release(run)
    good = {k:sha256(run.path('release', k)) for k in ('adapter_model.safetensors', 'README.md')}
    p = run.path('release', 'adapter_model.safetensors')
    p.write_bytes(p.read_bytes()[:1000]); run.path('release', 'README.md').unlink()
    t = {o['what']:o for o in compare_facts(run)}['released files']
    assert not t['ok'] and 'README.md' in t['found'] and 'adapter_model' in t['found']
    release(run)
    assert good == {k:sha256(run.path('release', k)) for k in good}
    p.write_bytes(b'x'*1000); load_talk(run)
    q = run.path('training', 'adapter', 'adapter_model.safetensors'); q.write_bytes(q.read_bytes()[:1000])
    with pytest.raises(MedqaError, match='is damaged'): load_talk(run)

@pytest.mark.parametrize('settings,words', [(dict(gpu=dict(profile='t4')), 'the adapter was trained on tiny'), (dict(lora=dict(rank=64)), 'lora.rank is 64 in run.yaml and was 16')])
def test_a_release_is_of_what_was_trained(run, settings, words):
    from medqa_nb.core.restoring import experiment
    from medqa_nb.core.runs import read_plain
    run.path('training', 'settings.json').write_text(json.dumps(read_plain(experiment(run.config))))
    run.config.update(settings)
    with pytest.raises(MedqaError, match=words): release(run)
    assert not run.path('release', 'adapter_config.json').exists()

def test_public_settings_tell_no_folder(run, tmp_path):
    from medqa_nb.release import public_settings
    (tmp_path/'nli').mkdir()
    run.config.update(dict(data=dict(sources=['medquad', 'hf:lavita/MedQuAD', 'https://x.org/a.zip', f'csv:{tmp_path}/own.csv?question=Frage/Q', f'askdocs:{tmp_path}/p.zst+{tmp_path}/c.zst', f'{tmp_path}/x.tar.gz', '~/mine'], extends=str(tmp_path/'old')),
                           evaluation=dict(adapters=[str(tmp_path)], nli=str(tmp_path/'nli'))))
    c = public_settings(run)
    assert c.data.sources == ['medquad', 'hf:lavita/MedQuAD', 'https://x.org/a.zip', 'csv:own.csv?question=Frage/Q', 'askdocs:p.zst+c.zst', 'x.tar.gz', 'mine'] and c.data.extends == 'old'
    assert c.evaluation.adapters == [tmp_path.name] and c.evaluation.nli == 'nli' and run.config.data.sources[-1] == '~/mine'

def test_a_tag_is_followed(tmp_path):
    "nbdev's tool bumps the version, badges and install cells follow, the check agrees; before that it names what does not"
    root = HERE.parent
    d = tmp_path/'copy'
    for f in ['pyproject.toml', 'settings.ini', 'README.md', 'CHANGELOG.md', 'medqa_nb/__init__.py', '.github/scripts/stages.py', *(p.relative_to(root).as_posix() for p in (root/'nbs').glob('*.ipynb'))]:
        (d/f).parent.mkdir(parents=True, exist_ok=True); shutil.copy2(root/f, d/f)
    def stages(*args):
        p = subprocess.run([sys.executable, '.github/scripts/stages.py', *args], cwd=d, capture_output=True, text=True)
        return p.returncode, p.stdout + p.stderr
    old = re.search(r'__version__ = "(.+)"', (d/'medqa_nb/__init__.py').read_text())[1]
    assert stages('--check', f'v{old}') == (0, '')
    subprocess.run([str(Path(sys.executable).parent/'nbdev-bump-version'), '--part', '1'], cwd=d, check=True, capture_output=True)
    version = re.search(r'__version__ = "(.+)"', (d/'medqa_nb/__init__.py').read_text())[1]
    code,said = stages('--check', f'v{version}')
    assert code and f'CHANGELOG.md has no section {version}' in said and '06_release.ipynb' in said and 'README.md has badges of another tag' in said
    assert f'says {version}, the tag v{old}' in stages('--check', f'v{old}')[1]
    c = d/'CHANGELOG.md'; c.write_text(c.read_text().replace('<!-- do not remove -->\n', f'<!-- do not remove -->\n\n## {version}\n'))
    r = d/'README.md'; r.write_text(r.read_text().replace(f'/blob/v{old}/', f'/blob/v{version}/'))
    assert stages()[0] == 0 and stages('--check', f'v{version}') == (0, '')
    assert f'/blob/v{version}/nbs/06_release.ipynb' in (d/'nbs/06_release.ipynb').read_text() and f'medqa_nb=={version}' in (d/'nbs/03_training.ipynb').read_text()
