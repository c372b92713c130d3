"""What publishing checkpoints costs training, in one run:

    python bench/publish_overhead.py [BASE [STEPS [SAVE_STEPS]]]

Trains BASE (a model folder; default the embedded tiny one) for STEPS steps (60) through `fit`, with a checkpoint every SAVE_STEPS (10) that is packed, copied to a second
folder, read back, and marked. Steps are timed by metrics.jsonl, which leaves the trainer's own saving out; those that end while the publisher works are compared with the others of the same run. The cost at the default cadence is
the time lost to one checkpoint by the time of training.save_steps' default of 100 steps. The last line is that share.
"""
import statistics, sys, tempfile, time
from pathlib import Path

def rows(n=1200):
    "Made-up rows of some 250 tokens"
    import pandas as pd
    return pd.DataFrame([dict(key=f'r{i}', question=f'What is condition {i}?', answer=f'Condition {i} is an illness of the number {i}. '*18) for i in range(n)])

def busy_times(publisher_class): # Returns a list that fills with (begin, end) of rounds that had work to do
    "Note when the publisher works, and for how long it kept the trainer"
    spans,blocked,old,add = [],[],publisher_class.one_round,publisher_class.add
    def one_round(self):
        work,t0 = bool(self.waiting()),time.time()
        out = old(self)
        if work: spans.append((t0, time.time()))
        return out
    def timed(self, *args, **kw):
        t0 = time.perf_counter()
        add(self, *args, **kw)
        blocked.append(time.perf_counter() - t0)
    publisher_class.one_round,publisher_class.add = one_round,timed
    return spans, blocked

def main(base=None, steps='60', save_steps='10'):
    from medqa_nb.core.checkpoints import FolderStore, Publisher
    from medqa_nb.core.config import Config
    from medqa_nb.core.files import assets
    from medqa_nb.core.keeper import read_metrics
    from medqa_nb.core.trainer import fit
    import torch
    spans,blocked = busy_times(Publisher)
    cuda = torch.cuda.is_available() and base
    cfg = Config().update(dict(gpu=dict(profile='auto' if cuda else 'cpu'), model=dict(base=base or str(assets('tiny'))),
        training=dict(max_steps=int(steps), save_steps=int(save_steps), eval_steps=10**6, effective_batch=16, max_length=512, optimizer='adamw_8bit')))
    with tempfile.TemporaryDirectory() as d:
        store = FolderStore(Path(d)/'drive', name='the second folder')
        r = fit(cfg, rows(), rows(4), Path(d)/'training', Path(d)/'checkpoints', [store])
        times = [(o['time'], o['tokens']/o['step']/o['tokens_per_second']) for o in read_metrics(Path(d)/'training'/'metrics.jsonl') if o['step'] > 3 and o.get('tokens_per_second')]
        size = max(p.stat().st_size for p in (Path(d)/'drive').glob('*.tar'))
    busy = [t for end,t in times if any(a < end and end - t < b for a,b in spans)]
    idle = [t for end,t in times if not any(a < end and end - t < b for a,b in spans)]
    if not busy or not idle: sys.exit(f'{len(busy)} steps while publishing, {len(idle)} without: choose other STEPS or SAVE_STEPS')
    step,took = statistics.median(idle),statistics.mean(b - a for a,b in spans)
    slower = statistics.mean(busy)/statistics.mean(idle) - 1
    lost = max(0, statistics.mean(busy) - statistics.mean(idle))*len(busy)/len(spans) + statistics.mean(blocked)
    print(f'{r["plan"]["gpu"]}: {len(spans)} checkpoints of {size/2**20:.0f} MiB, each {took:.2f} s in the thread; a step takes {step:.3f} s')
    print(f'handing over keeps a step for {1000*max(blocked):.1f} ms at most; {len(busy)} steps while publishing are {slower:+.1%} against {len(idle)} others')
    print(f'share of training time at the default cadence of 100 steps: {lost/(100*step):.3%}')

if __name__ == '__main__': main(*sys.argv[1:])
