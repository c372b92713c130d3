"""A comparison of 4 settings x 3 seeds on the embedded model, killed with SIGKILL at random moments until it has been killed KILLS times, and then left alone:

    python bench/soak_grid.py [KILLS [SEED]]      20 kills unless told; some minutes on two cores

Half of the kills hit the process that leads (its run ends with it), a quarter the run under way (the leader starts it again), a quarter both and the server that forks runs. It is good if all 12 runs are in the ledger, each was
finished once (its run.json is never written again, and the logs tell of no more than 12 finishes), scores and report are there, and all settings with one seed began with the same rows.
"""
import collections, json, os, random, signal, subprocess, sys, tempfile, time
from pathlib import Path
import psutil

os.environ.update(OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false', HF_DATASETS_DISABLE_PROGRESS_BARS='1', TRANSFORMERS_VERBOSITY='error', HF_HUB_OFFLINE='1')
CODE = 'import sys; from medqa_nb.core.runs import Run; from medqa_nb.comparison import compare; compare(Run.open(sys.argv[1]), say=lambda s: print(s, flush=True))'

def make(folder): # Returns a `Run` with rows
    import pandas as pd
    from medqa_nb.core.config import Config, load_config
    from medqa_nb.core.files import assets, write_json, write_table
    from medqa_nb.core.runs import Run
    cfg = Config().update(load_config(assets('cpu_config.yaml'))).update(dict(gpu=dict(profile='cpu'), model=dict(base=str(assets('tiny'))), training=dict(effective_batch=2, max_length=96), evaluation=dict(max_new_tokens=6, resamples=200),
        comparison=dict(grid=dict(rank=[2, 4], alpha=[4, 8]), seeds=[0, 1, 2], max_steps=8, questions=16)))
    run = Run(folder, folder, cfg)
    run.local.mkdir(parents=True); run.save_config()
    rows = pd.DataFrame([dict(key=f'r{i}', source='s', question=f'What is condition {i}?', answer=f'Condition {i} is an illness of the number {i}.', group=f'g{i//2}', qtype='information') for i in range(72)])
    write_table(run.path('data', 'train.parquet'), rows[:32]); write_table(run.path('data', 'validation.parquet'), rows[32:])
    write_json(run.path('data', 'report.json'), {}); write_json(run.path('data', 'vocabulary.json'), {})
    return run

def start(run): # Returns a psutil.Popen
    return psutil.Popen([sys.executable, '-c', CODE, str(run.local)], stdout=open(run.local/'log.txt', 'a'), stderr=subprocess.STDOUT, start_new_session=True)

def family(p): # Process; returns those below it, the youngest last
    try: return sorted(p.children(recursive=True), key=lambda o: o.create_time())
    except psutil.NoSuchProcess: return []

def hit(p, rng): # The leader; random numbers. Returns the words for what was killed
    "SIGKILL to the leader, to the run, or to all"
    kind,kids = rng.choice(('leader', 'leader', 'run', 'all')),[o for o in family(p) if 'resource_tracker' not in ' '.join(o.cmdline())]
    if kind == 'run' and len(kids) < 2: return None # none is under way
    for o in {'leader':[p], 'run':kids[-1:], 'all':[p, *kids]}[kind]:
        try: o.kill()
        except psutil.NoSuchProcess: pass
    if kind != 'run': p.wait()
    return kind

def done(run): return {f.parent.name:(f.stat().st_mtime_ns, f.stat().st_ino) for f in run.path('comparison', 'runs').glob('*/run.json')} # {run: when its run.json was written, and where}

def main(kills='20', seed='0'):
    from medqa_nb.core.files import read_json, read_table
    from medqa_nb.core.grid import read_ledger
    kills,rng,t0,hits,seen,again = int(kills),random.Random(int(seed)),time.time(),collections.Counter(),{},set()
    run = make(Path(tempfile.mkdtemp(prefix='soak-'))/'r')
    p,starts = start(run),1
    def look():
        for k,v in done(run).items():
            if seen.setdefault(k, v) != v: again.add(k)
    while sum(hits.values()) < kills:
        end = time.time() + rng.uniform(1, 14)*max(1, os.getloadavg()[0]/4)
        while time.time() < end and p.poll() is None: look(); time.sleep(.02)
        if p.poll() is not None and len(done(run)) == 12: break # complete before the last kill
        if p.poll() is None and (kind := hit(p, rng)): hits[kind] += 1
        if p.poll() is not None: p = start(run); starts += 1
    while p.wait():
        if starts > kills + 10: sys.exit('it does not come to an end: ' + (run.local/'log.txt').read_text()[-500:])
        p = start(run); starts += 1
    look()
    lines,log = read_ledger(run.path('comparison', 'ledger.jsonl')),'\n'.join(f.read_text() for f in run.path('comparison', 'runs').glob('*/log.txt'))
    r,scores = read_json(run.path('comparison', 'report.json')),read_table(run.path('comparison', 'scores.parquet'))
    good = dict(complete=len(lines) == 12 and all(o['state'] == 'done' for o in lines), once=not again and log.count('is finished') <= 12, scored=scores.id.nunique() == 12,
                reported=len(r['differences']) == 3 and r['seeds'] == [0, 1, 2], same_rows=all(len({o['first_loss'] for o in lines if o['seed'] == s}) == 1 for s in (0, 1, 2)))
    print(f'{sum(hits.values())} kills ({", ".join(f"{v} {k}" for k,v in hits.items())}), {log.count("begins in process")} processes for 12 runs, {starts} calls, {time.time() - t0:.0f} s, load {os.getloadavg()[2]:.1f}')
    print(good)
    sys.exit(0 if all(good.values()) and sum(hits.values()) == kills else 1)

if __name__ == '__main__': main(*sys.argv[1:])
