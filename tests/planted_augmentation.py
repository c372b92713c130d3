"Planted errors: reads tests/planted/augmentation_*.txt;  python tests/planted_augmentation.py 01|02|...|final_1|...  prints recall for each category and the good answers that are lost."
import re, sys
from collections import Counter
from pathlib import Path

PARTS = sorted(p.stem.partition('_')[2] for p in (Path(__file__).parent/'planted').glob('augmentation_*.txt'))
DEVELOPED = [o for o in PARTS if o.isdigit()] # the rules were developed with these
FINAL = [o for o in PARTS if not o.isdigit()] # nobody who changes the rules has looked into these

def path_of(name): return Path(__file__).parent/f'planted/augmentation_{name}.txt' # Part

def planted(name): # A part; returns [(category or 'good', condition and question, text, answer)]
    "All answers of a part"
    out = []
    for block in re.split(r'^= ', path_of(name).read_text(), flags=re.M)[1:]:
        head,text,*lines = block.strip('\n').split('\n')
        question = ' | '.join(o.strip() for o in head.split('|'))
        good = [l[2:] for l in lines if l.startswith('+ ')]
        out += [('good', question, text, a) for a in good]
        for kind,n,edit in re.findall(r'^- (\w+) (\d): (.*)$', '\n'.join(lines), re.M):
            a,(old,_,new) = good[int(n)-1],edit.partition(' =>')
            assert old.strip() in a, edit
            bad = a[:a.index(old) + len(old)] if kind == 'truncated' else ' '.join(a.replace(old.strip(), new.strip()).split()).replace(' .', '.')
            out.append((kind, question, text, bad))
    return out

def measured(name, **kw): # Returns ({category: (caught, of)}, [(category, answer, reasons)] that went wrong)
    "What the gates make of a part"
    from medqa_nb.core.validation import check
    n,caught,wrong = Counter(),Counter(),[]
    for kind,question,text,answer in planted(name):
        found = check(answer, text, question, **kw)['reasons']
        n[kind] += 1; caught[kind] += bool(found)
        if bool(found) == (kind == 'good'): wrong.append((kind, answer, found))
    return {k:(caught[k], n[k]) for k in n}, wrong

if __name__ == '__main__':
    rates,wrong = measured(sys.argv[1])
    for k,(a,b) in rates.items(): print(f'{k:10s} {"lost" if k == "good" else "caught"} {a} of {b} ({a/b:.1%})')
    bad = [v for k,v in rates.items() if k != 'good']
    print(f'all bad    caught {sum(a for a,_ in bad)} of {sum(b for _,b in bad)}')
    if '--show' in sys.argv:
        for o in wrong: print(*o, sep=' | ')
