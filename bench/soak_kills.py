"""Training killed with SIGKILL at random moments, half of them while a checkpoint is saved, packed or published:

    python bench/soak_kills.py [RUNS [SEED [PROCESSES]]]

Each of RUNS runs (200) trains the embedded model for 16 steps with a checkpoint every 4, on this disk and in a second folder, and is killed once or twice; sometimes the
newest tar is cut as well, as a lost byte would. Then the same call goes on to the end. A run is good if it went on from a checkpoint that was whole, lost at most one
interval, and ended with the adapter of an uninterrupted run, bit for bit. Children are forked from one process that has imported everything, one thread each.
"""
import collections, hashlib, json, os, random, shutil, signal, sys, tempfile, time, traceback
from pathlib import Path

os.environ.update(OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false', HF_DATASETS_DISABLE_PROGRESS_BARS='1', TRANSFORMERS_VERBOSITY='error', HF_HUB_OFFLINE='1')
STEPS,EVERY = 16,4

def settings():
    from medqa_nb.core.config import Config, load_config
    from medqa_nb.core.files import assets
    return Config().update(load_config(assets('cpu_config.yaml'))).update(dict(gpu=dict(profile='cpu'), model=dict(base=str(assets('tiny'))), lora=dict(dropout=.1),
        training=dict(max_steps=STEPS, eval_steps=8, save_steps=EVERY, effective_batch=2, max_length=96)))

def rows(n=64):
    import pandas as pd
    return pd.DataFrame([dict(key=f'r{i}', question=f'What is condition {i}?', answer=f'Condition {i} is an illness of the number {i}.') for i in range(n)])

def train(d, tell=None): # Folder of a run; file descriptor that hears of saves
    "A call of `fit`; ends this process"
    import transformers
    from medqa_nb.core import trainer
    from medqa_nb.core.checkpoints import FolderStore, Publisher
    log = open(d/'log.txt', 'a')
    for o in (1, 2): os.dup2(log.fileno(), o)
    def loud(cls, name):
        old = getattr(cls, name)
        def new(*args, **kw):
            if tell: os.write(tell, name.encode() + b'\n')
            return old(*args, **kw)
        setattr(cls, name, new)
    loud(transformers.Trainer, '_save_checkpoint'); loud(Publisher, 'add'); loud(Publisher, 'pack'); loud(FolderStore, 'put'); loud(FolderStore, 'prune')
    begin = trainer.begin_session
    def begin_session(folder, m): print(f'session from {m["step"] if m else 0} ', flush=True); return begin(folder, m)
    trainer.begin_session = begin_session
    try: trainer.fit(settings(), rows(), rows(4), d/'training', d/'checkpoints', [FolderStore(d/'drive', name='Drive')], say=lambda s: print(s, flush=True)); code = 0
    except BaseException: traceback.print_exc(); code = 1
    log.flush(); os._exit(code)

def fork(d, tell=None): # Returns a process id
    pid = os.fork()
    if not pid: train(d, tell)
    return pid

def killed(d, rng, during, seconds): # Folder; random numbers; kill in a save?; how long a whole call takes. Returns True if it was killed before the end
    "Start, and kill at a random moment"
    hear,tell = os.pipe()
    pid = fork(d, tell)
    os.close(tell)
    end = time.time() + rng.uniform(.2, .95)*seconds
    with os.fdopen(hear) as f:
        if during:
            for _ in range(rng.randint(1, 14)):
                if not f.readline(): break
            time.sleep(rng.uniform(0, .02))
        else:
            while time.time() < end and os.waitpid(pid, os.WNOHANG) == (0, 0): time.sleep(.005)
    try: os.kill(pid, signal.SIGKILL)
    except ProcessLookupError: return False
    try: return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    except ChildProcessError: return False

def noted(d): # Returns the last step in metrics.jsonl
    p,last = d/'training'/'metrics.jsonl',0
    for l in (p.read_text().splitlines() if p.exists() else []):
        try: last = json.loads(l)['step']
        except ValueError: pass
    return last

def adapter(d): return hashlib.sha256((d/'training/adapter/adapter_model.safetensors').read_bytes()).hexdigest()

def resumed(d, start): # Folder; where in the log a call begins. Returns the step that it went on from
    lines = (d/'log.txt').read_text(errors='replace')[start:].splitlines()
    return next((int(l.split()[2]) for l in lines if l.startswith('session from ')), None)

def damage(d, rng): # Folder; random numbers. Returns True if it did
    "In one run of ten, cut the newest tar on both disks, if there is one before it"
    tars = sorted((d/'checkpoints').glob('step-*.tar'))
    if len(tars) < 2 or rng.random() > .1: return False
    for t in (d/s/tars[-1].name for s in ('checkpoints', 'drive')):
        if t.exists(): t.write_bytes(t.read_bytes()[:-1000])
    return True

def one(i, seed, want, seconds): # Number; seed; adapter of the straight run; seconds of a call. Returns a dict
    "A run with its kills"
    rng,d,lost,kills,cut,was_killed = random.Random(f'{seed}-{i}'),Path(tempfile.mkdtemp(prefix='soak-')),[],0,False,False
    for _ in range(rng.choice((1, 1, 2))):
        start = (d/'log.txt').stat().st_size if kills else 0
        was_killed = killed(d, rng, during=i%2 == 0, seconds=seconds)
        if kills and (at := resumed(d, start)) is not None: lost.append((before - at, cut))
        if not was_killed: break
        kills += 1
        if not kills > 1 or at is not None: before,cut = noted(d),damage(d, rng)
    start = (d/'log.txt').stat().st_size
    if os.waitpid(fork(d), 0)[1]: return dict(i=i, kills=kills, bad='the last call failed', folder=str(d))
    if was_killed: lost.append((before - resumed(d, start), cut))
    ok = adapter(d) == want and all(n <= EVERY*(1 + c) for n,c in lost)
    out = dict(i=i, kills=kills, during=i%2 == 0, lost=[n for n,_ in lost], cut=cut, bad=None if ok else 'another adapter' if adapter(d) != want else 'more than one interval lost', folder=str(d))
    if ok: shutil.rmtree(d)
    return out

def work(n, k, of, seed, want, seconds, path): # A share of the runs, in a process of its own
    with open(path, 'a') as f:
        for i in range(k, n, of): f.write(json.dumps(one(i, seed, want, seconds)) + '\n'); f.flush()

def main(n='200', seed='0', processes='1'):
    n,of = int(n),int(processes)
    import bitsandbytes, datasets, pandas, peft, torch, transformers, trl
    import medqa_nb.core.trainer
    torch.set_num_threads(1)
    d = Path(tempfile.mkdtemp(prefix='soak-'))
    t0 = time.time()
    if os.waitpid(fork(d), 0)[1]: sys.exit((d/'log.txt').read_text())
    seconds,want = time.time() - t0,adapter(d)
    print(f'uninterrupted: {seconds:.1f} s', flush=True)
    out = d/'results.jsonl'
    pids = []
    for k in range(of):
        pid = os.fork()
        if not pid:
            try: work(n, k, of, seed, want, seconds, out)
            except BaseException: traceback.print_exc()
            os._exit(0)
        pids.append(pid)
    for p in pids: os.waitpid(p, 0)
    got = [json.loads(l) for l in out.read_text().splitlines()]
    lost = collections.Counter(x for o in got for x in o.get('lost', []) if not o.get('cut'))
    for o in got:
        if o['bad']: print(o)
    print(f'{sum(o.get("kills", 0) for o in got)} kills in {len(got)} runs, {sum(o.get("kills", 0) for o in got if o.get("during"))} of them around a save or publication; '
          f'{sum(bool(o.get("cut")) for o in got)} runs with a damaged newest checkpoint; steps lost (of an interval of {EVERY}): {dict(sorted(lost.items()))}')
    print(f'{sum(not o["bad"] for o in got)} of {n} runs resumed from a whole checkpoint, lost at most one interval, and ended with the same adapter')
    sys.exit(0 if len(got) == n and not any(o['bad'] for o in got) else 1)

if __name__ == '__main__': main(*sys.argv[1:])
