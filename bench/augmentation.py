"""Augmentation in figures:  python bench/augmentation.py [MedQuAD.tar.gz]

Planted errors: recall of each category and good answers lost, in the parts that the rules were developed with and in the final ones, which were written by others
who had not seen the rules and are measured only. With an archive: seconds of augmentation by rules over its whole training split, rows and rejected rows of each kind, coverage before and after; and the quote for Claude.
"""
import sys, tempfile, time
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'tests'))

def errors():
    from planted_augmentation import DEVELOPED, FINAL, measured
    def line(name, rates):
        bad = [v for k,v in rates.items() if k != 'good']
        print(f'{name}: ' + ', '.join(f'{k} {a}/{b}' for k,(a,b) in sorted(rates.items()) if k != 'good') + f'; bad caught {sum(a for a,_ in bad)}/{sum(b for _,b in bad)}, good lost {rates["good"][0]}/{rates["good"][1]}', flush=True)
    for title,parts in (('developed', DEVELOPED), ('final', FINAL)):
        found = []
        for name in parts:
            found.append(measured(name)[0])
            line(name, found[-1])
        line(f'all {title}', {k:tuple(map(sum, zip(*(o[k] for o in found)))) for k in found[0]})

def whole(archive):
    from medqa_nb.augmentation import augment, quoted
    from medqa_nb.core.files import read_table
    from medqa_nb.core.runs import Run
    from medqa_nb.data import build_data
    with tempfile.TemporaryDirectory() as t:
        run = Run.open(f'{t}/r', flags=dict(data=dict(sources=[archive]), augmentation=dict(share=1.)))
        build_data(run)
        t0,c0 = time.time(),time.process_time()
        r = augment(run)
        print(f'augmentation by rules of {len(read_table(run.path("data", "train.parquet")))} rows: {time.time()-t0:.1f} s, {time.process_time()-c0:.1f} s of one core')
        for k in ('planned', 'accepted', 'rejected', 'kinds', 'coverage', 'variety'): print(f'  {k}: {r[k]}')
        run.config.update(dict(augmentation=dict(method='claude', share=.3)))
        print(quoted(run))

if __name__ == '__main__':
    errors()
    if len(sys.argv) > 1: whole(sys.argv[1])
