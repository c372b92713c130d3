"What goes wrong in training is noticed, said in a line, and costs at most the way back to the last checkpoint."
import hashlib, json, os, signal, subprocess, sys, time
import pandas as pd
import pytest
from medqa_nb.core.checkpoints import FolderStore, newest, pack, unpack
from medqa_nb.core.config import Config, load_config
from medqa_nb.core.files import MedqaError, assets, read_json
from medqa_nb.core.keeper import read_metrics
from medqa_nb.core.trainer import fit
from servers import gate_route, serving, wait_for

COMMAND = [sys.executable, '-c', 'import sys; from medqa_nb.cli import main; sys.exit(main())']
quiet = lambda s: None

def rows(n=40): return pd.DataFrame([dict(key=f'r{i}', question=f'What is condition {i}?', answer=f'Condition {i} is an illness of the number {i}.') for i in range(n)])

def settings(lora={}, **training):
    return Config().update(load_config(assets('cpu_config.yaml'))).update(dict(gpu=dict(profile='cpu'), model=dict(base=str(assets('tiny'))), lora=lora,
        training={**dict(max_steps=4, eval_steps=4, save_steps=1, effective_batch=4, max_length=96), **training}))

def train(d, cfg, **kw): return fit(cfg, rows(), rows(4), d/'training', d/'checkpoints', **{'say':quiet, **kw})
def losses(d): return [o['loss'] for o in read_metrics(d/'training/metrics.jsonl') if 'loss' in o]
def adapter(d): return hashlib.sha256((d/'training/adapter/adapter_model.safetensors').read_bytes()).hexdigest()

@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    d = tmp_path_factory.mktemp('straight')
    train(d, settings())
    return d

@pytest.mark.parametrize('what', ['loss', 'gradient'])
def test_not_a_number_stops_with_the_last_good_state(what, straight, tmp_path, monkeypatch):
    "A loss or a gradient that is no number in the third step: nothing of it is saved, and without the fault the run ends as if it had not been"
    import torch, transformers
    old,calls = transformers.Trainer.training_step,[]
    def step(self, model, *args, **kw):
        out = old(self, model, *args, **kw)
        calls.append(1)
        if len(calls) == 3 and what == 'loss': return out*float('nan')
        if len(calls) == 3: next(p for p in model.parameters() if p.grad is not None).grad[0] = float('nan')
        return out
    monkeypatch.setattr(transformers.Trainer, 'training_step', step)
    with pytest.raises(MedqaError, match=f'the {what} is not a number at step 3: lower training.learning_rate'): train(tmp_path, settings())
    assert FolderStore(tmp_path/'checkpoints').steps()[-1] == 2
    monkeypatch.undo()
    assert train(tmp_path, settings())['resumed_from'] == [2]
    assert losses(tmp_path) == losses(straight) and adapter(tmp_path) == adapter(straight)

def test_a_checkpoint_without_optimizer_is_not_a_resume(straight, tmp_path):
    "The trainer would start a fresh optimizer without a word; here the missing part is named"
    m,tar = newest([FolderStore(straight/'checkpoints')])
    folder = unpack(tar, tmp_path/'open')
    (folder/'optimizer.pt').unlink()
    state = read_json(folder/'trainer_state.json')
    (folder/'trainer_state.json').write_text(json.dumps({**state, 'max_steps':8}))
    facts = {k:m[k] for k in m if k not in ('step', 'time', 'bytes', 'sha256', 'files')}
    pack(folder, tmp_path/'checkpoints', m['step'], **{**facts, 'settings':{**facts['settings'], 'training.max_steps':8}})
    said = []
    with pytest.raises(MedqaError, match=r'was not restored whole \(optimizer'): train(tmp_path, settings(max_steps=8), say=said.append)
    assert any('optimizer.pt is missing' in s and 'NOT RESTORED' in s for s in said)

def test_settings_that_differ_are_named(straight, tmp_path):
    "Another rank, other rows; but how often checkpoints are made may change"
    import shutil
    shutil.copytree(straight, tmp_path/'r')
    with pytest.raises(MedqaError, match=r'lora.rank \(was 16, now 8\)'): train(tmp_path/'r', settings(lora=dict(rank=8)))
    with pytest.raises(MedqaError, match='other training rows'): fit(settings(), rows(39), rows(4), tmp_path/'r/training', tmp_path/'r/checkpoints', say=quiet)
    assert train(tmp_path/'r', settings(save_steps=3, keep=1, save_minutes=1))['steps'] == 4

def test_early_stopping_by_any_metric(tmp_path):
    "A score that is best at the second evaluation and then falls: two more, and that is enough; a second call does not go on"
    values = iter([.1, .3, .2, .1, .9, .9])
    cfg = settings(max_steps=8, eval_steps=1, patience=2, metric='rougeL')
    r = train(tmp_path, cfg, measure=lambda model, tok: dict(rougeL=next(values)))
    assert (r['steps'], r['stopped_early'], r['best']) == (4, True, dict(step=2, metric='eval_rougeL', value=.3))
    assert [o['rougeL'] for o in r['eval']] == [.1, .3, .2, .1]
    assert train(tmp_path, cfg, measure=lambda model, tok: dict(rougeL=next(values)))['steps'] == 4

def test_a_trained_head_and_fewer_targets(tmp_path):
    "modules_to_save trains the head whole, in fp32; the adapter sits only where it is asked for"
    from safetensors.torch import load_file
    train(tmp_path, settings(lora=dict(modules_to_save=['lm_head'], target_modules='q_proj,v_proj'), max_steps=2, eval_steps=2))
    got,base = load_file(tmp_path/'training/adapter/adapter_model.safetensors'),load_file(assets('tiny', 'model.safetensors'))
    assert {k.split('.')[-3] for k in got if 'lora_A' in k} == {'q_proj', 'v_proj'}
    head = next(v for k,v in got.items() if 'lm_head' in k)
    assert head.dtype.is_floating_point and head.element_size() == 4
    assert (head - base['model.embed_tokens.weight'].float()).abs().max() > 1e-5

@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    "A run with data and augmentation"
    d = tmp_path_factory.mktemp('run')/'r'
    for c in (['data', '--source', 'sample'], ['augment']):
        words = [*c, '--run', str(d), '--set', 'training.effective_batch=4', '--set', 'training.max_length=96', '--set', 'gpu.profile=cpu']
        p = subprocess.run([*COMMAND, *words], capture_output=True, text=True)
        assert p.returncode == 0, p.stderr
    return d

def test_memory_is_watched(straight):
    "metrics.jsonl and TensorBoard hold loss, memory of the process and free disk for every step"
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    lines = [o for o in read_metrics(straight/'training/metrics.jsonl') if 'loss' in o]
    assert all(o['host_gib'] > .1 and o['disk_gib'] > 0 and o['allocated_gib'] is None for o in lines)
    seen = EventAccumulator(str(straight/'training/tensorboard')).Reload()
    assert {'train/loss', 'train/host_gib', 'train/disk_gib', 'eval/loss'} <= set(seen.Tags()['scalars'])
    assert [e.step for e in seen.Scalars('train/host_gib')] == [1, 2, 3, 4]

def run_folder(prepared, d, **training): # A copy of it with settings of its own
    import shutil, yaml
    shutil.copytree(prepared, d)
    cfg = yaml.safe_load((d/'run.yaml').read_text())
    for k,v in training.items():
        s,_,k = k.partition('__')
        cfg[s][k] = v
    (d/'run.yaml').write_text(yaml.safe_dump(cfg))
    return d

def test_a_fork_does_not_keep_the_lock(tmp_path):
    "A worker that loads data may outlive a training that was cut off; the next one starts all the same, and inside a training the lock holds"
    import multiprocessing
    from medqa_nb.core.trainer import alone
    child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
    with alone(tmp_path):
        child.start()
        with pytest.raises(MedqaError, match='another process'), alone(tmp_path): pass
    try:
        with alone(tmp_path): assert child.is_alive()
    finally: child.kill(); child.join()

noted = lambda d: len(read_metrics(d/'training/metrics.jsonl'))

def test_a_job_is_followed_stopped_and_continued(prepared, tmp_path):
    "The kernel that started a job dies: the job lives, and the same call follows it. A second process is refused. SIGTERM saves first"
    from medqa_nb.core.runs import Run
    from medqa_nb.flows import find_job, job
    d = run_folder(prepared, tmp_path/'r', training__max_steps=50, training__eval_steps=50, training__save_steps=25)
    script = f"from medqa_nb.core.runs import Run; from medqa_nb.flows import job; job(Run.open({str(d)!r}), 'training')"
    kernel = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE)
    wait_for(lambda: noted(d) >= 5)
    kernel.send_signal(signal.SIGKILL); kernel.wait()
    running = find_job(d/'training/training.job.json')
    assert running
    second = subprocess.run([*COMMAND, 'train', '--run', str(d)], capture_output=True, text=True)
    assert second.returncode == 2 and 'another process is training this run' in second.stderr
    at = noted(d)
    os.kill(running.pid, signal.SIGTERM)
    said = []
    with pytest.raises(MedqaError, match='asked to stop: saved at step'): job(Run.open(str(d)), 'training', said.append)
    assert 'following it' in said[0] and FolderStore(d/'checkpoints').steps()[-1] >= at
    r = job(Run.open(str(d)), 'training', said.append)
    assert r['steps'] == 50 and len(r['resumed_from']) == 1 and [o['step'] for o in read_metrics(d/'training/metrics.jsonl') if 'loss' in o] == list(range(1, 51))

def test_answers_choose_and_the_budget_stops(prepared, tmp_path):
    "ROUGE-L of generated answers chooses the best; a cost that reaches the budget saves and stops, and a higher budget goes on"
    d = run_folder(prepared, tmp_path/'r', training__max_steps=8, training__eval_steps=4, training__metric='rougeL', training__answers=4, evaluation__max_new_tokens=16, gpu__units_per_hour=1000)
    one = lambda *w: subprocess.run([*COMMAND, 'train', '--run', str(d), *w], capture_output=True, text=True)
    p = one('--set', 'budget.units=0.01') # 36 ms
    assert p.returncode == 2 and '0.01 units are spent (raise budget.units to go on): saved at step' in p.stderr, p.stderr
    p = one('--set', 'budget.units=1000')
    assert p.returncode == 0, p.stderr
    r = read_json(d/'training/report.json')
    assert r['best']['metric'] == 'eval_rougeL' and all(0 <= o['rougeL'] <= 1 for o in r['eval']) and r['units'] > .01 and len(r['resumed_from']) == 1

def test_a_run_that_dies_with_its_machine_is_told(prepared, tmp_path, monkeypatch):
    "On Colab, with neither Drive nor a backup, training says so before it begins"
    from medqa_nb import training
    from medqa_nb.core.runs import Run
    monkeypatch.setattr(training, 'in_colab', lambda: True)
    said = []
    training.train(Run.open(str(run_folder(prepared, tmp_path/'r', training__max_steps=1, training__eval_steps=1))), said.append)
    assert any('nothing of this run outlives this machine' in s for s in said)

def test_which_of_three_refusals(monkeypatch):
    "No token, a wrong one, a licence that is not accepted, a model that is not there, a disk that is too small"
    from huggingface_hub import HfApi
    from medqa_nb.core.models import check_access
    monkeypatch.delenv('HF_TOKEN', raising=False); monkeypatch.setattr('huggingface_hub.get_token', lambda: None); monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    with serving(gate_route, good={'hf_new', 'hf_ok'}, accepted={'hf_ok'}, bytes=10) as s:
        ask = lambda token, name='meta-llama/Llama-9': check_access(name, HfApi(endpoint=s.url, token=token))
        with pytest.raises(MedqaError, match='HF_TOKEN is missing'): ask(None)
        monkeypatch.setattr('huggingface_hub.get_token', lambda: 'hf')
        with pytest.raises(MedqaError, match='HF_TOKEN is wrong or has expired.*settings/tokens'): ask('hf_bad')
        with pytest.raises(MedqaError, match='licence of meta-llama/Llama-9 is not accepted yet.*https://huggingface.co/meta-llama/Llama-9'): ask('hf_new')
        with pytest.raises(MedqaError, match='there is no model me/none'): ask('hf_new', 'me/none')
        assert ask('hf_ok') is None
        s.bytes = 10**15
        with pytest.raises(MedqaError, match=r'takes 931322.6 GiB and .* free some space, or set HF_HOME'): ask('hf_ok')
