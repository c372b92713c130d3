"""Does anything get paid twice?  python bench/soak_ledger.py [RUNS] [ROWS] [SEED] [FIRST RUN]

Each run is a job of ROWS rows in chunks, in processes of its own that are killed (SIGKILL) at random moments, against a stand-in for the API with random
faults (429, 500 and 529, half of the latter two after the batch was accepted; connections cut before and after acceptance; slow answers; expired,
errored, invalid, refused, truncated, malformed results; broken lines; results cut off). In every second run, each kill also takes the machine and
the newest snapshot in the store. Then a last process, that nobody kills, must bring the job to its end. The server keeps the books. A probe that was paid
may be missing in ours where two kills took two snapshots before a session had written another (no list of the API shows messages): the budget leaves room for it.
"""
import json, os, random, shutil, signal, sys, tempfile, time, traceback
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'tests'))
from medqa_nb.core.files import MedqaError

FAULTS = {'429':.02, '500':.03, '529':.02, 'cut_before':.03, 'cut_after':.1, 'slow':.1, 'expired':.02, 'errored':.02, 'invalid':.003, 'refusal':.005, 'truncated':.01,
          'malformed':.01, 'broken_line':.0005, 'cut_results':.05}
SETTLE = .5 # Seconds after which a lost call is lost; the stand-in is never slower than its `slow`

def job(url, folder, store, n, budget):
    "What a session does: open the newest ledger, go on"
    import anthropic
    from medqa_nb.core.batches import Batches
    from medqa_nb.core.claude import request, row_id, size_of
    from medqa_nb.core.ledger import open_ledger
    M = 'claude-haiku-5-5'
    train = [SimpleNamespace(key=f'doc#{i}', focus='Gout', question='What are the treatments for Gout?', answer=f'Colchicine number {i} eases an attack of gout.') for i in range(n)]
    named = {row_id('question', r, M):r for r in train}
    c = anthropic.Anthropic(api_key='sk-test', base_url=url, timeout=5)
    l = open_ledger(folder/'ledger.sqlite', store)
    fresh = l.meta('facts') is None
    if fresh: l.begin(dict(rows=n), [(i, r.key, 'question-1', 0) for i,r in named.items()])
    keep = lambda copies=1: l.snapshot(store, copies)
    if fresh: keep()
    b = Batches(c, l, lambda i, m: request('question', named[i], M, m), (.1e-6, .5e-6), budget, folder/'raw', keep, ratio=.25, chunk=400, settle=SETTLE, fresh=fresh, say=lambda s: None)
    b.probe(next(iter(named)))
    b.run(poll=.05, patience=200)

def session(f, *args):
    "In a process of its own; returns its id"
    if pid := os.fork(): return pid
    try: f(*args); os._exit(0)
    except BaseException as e: # a child must not go on as its parent
        if not isinstance(e, MedqaError): traceback.print_exc()
        os._exit(1)

def lose_newest(folder, store):
    "The machine is gone, and so is the newest snapshot"
    shutil.rmtree(folder, ignore_errors=True)
    for p in sorted(store.glob('ledger-*.sqlite'), reverse=True)[:1]: p.unlink()

def one(i, n, seed, budget):
    "A run: returns what its ledger and the server say"
    from claude import claude
    rng = random.Random(seed*100003 + i)
    loses = i % 2 == 1
    with tempfile.TemporaryDirectory() as t, claude(seed=rng.random(), faults={k:v*rng.choice([0, 1, 2]) for k,v in FAULTS.items()}, delay=.15, slow=.2) as s:
        folder,store,kills,failed = Path(t)/'local',Path(t)/'store',rng.randint(1, 4),0
        store.mkdir()
        for _ in range(kills):
            pid = session(job, s.url, folder, store, n, budget)
            end = time.time() + rng.uniform(.02, 2.5)
            while time.time() < end and os.waitpid(pid, os.WNOHANG) == (0, 0): time.sleep(.005)
            try: os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError): pass # it had ended by itself
            if loses: lose_newest(folder, store)
        for _ in range(20): # a fault may end a session with one line; *Run all* again
            if os.waitpid(session(job, s.url, folder, store, n, budget), 0)[1] == 0: break
            failed += 1
        from medqa_nb.core.ledger import open_ledger
        l = open_ledger(folder/'ledger.sqlite', store)
        states,reasons = l.counts()
        done = l.all("select row, count(*) from attempt where state='done' group by row having count(*)>1")
        spent,reserved = l.money()
        batches = l.all('select coalesce(sum(dollars),0) from attempt')[0][0]
        probes = l.all("select count(*) from call where kind='probe' and state!='refused'")[0][0]
        out = dict(run=i, loses=loses, kills=kills, again=failed, batches=len(s.batches), states=states, reasons=reasons, done_twice=len(done), paid=sum(s.paid.values()),
            paid_twice=sum(k > 1 for k in s.paid.values()), sent_twice=sum(k > 1 for k in s.accepted.values()), dollars=s.dollars, spent=spent, books_low=batches < s.dollars - s.probe_dollars - 1e-9, probes_lost=max(0, s.probes - probes), reserved=reserved, budget=budget, over=s.dollars > budget)
        l.close()
        return out

def main(runs=500, n=2000, seed=0, first=0):
    import anthropic, medqa_nb.core.batches, medqa_nb.core.claude # before the first fork
    total,t0 = Counter(),time.time()
    for i in range(first, runs):
        rng = random.Random(seed + i)
        o = one(i, n, seed, budget=rng.choice([1., .12, .06]) * n/2000) # the second must wait for answers, the third ends early
        finished = sum(o['states'].get(k, 0) for k in ('done', 'failed'))
        total.update(runs=1, kills=o['kills'], again=o['again'], batches=o['batches'], rows=n, done=o['states'].get('done', 0), failed=o['states'].get('failed', 0), unfinished=n - finished,
                     answers=o['paid'], loses=o['loses'], paid_twice=o['paid_twice'], sent_twice=o['sent_twice'], done_twice=o['done_twice'], over_budget=o['over'], books_low=o['books_low'], probes_lost=o['probes_lost'])
        total.update({f'failed: {k}':v for k,v in o['reasons'].items()})
        if o['paid_twice'] or o['over'] or finished != n or o['books_low'] or o['probes_lost']: print(json.dumps(o), flush=True)
        if i % 25 == 24: print(f'{i+1} runs, {time.time()-t0:.0f} s: {dict(total)}', flush=True)
    print(json.dumps(dict(total), indent=1))
    return total

if __name__ == '__main__': main(*map(int, sys.argv[1:]))
