"""A leak checker that shares no code with the splitter:  python tests/leaks.py FOLDER  prints what held-out rows share with training."""
import re, sys
from collections import Counter, defaultdict
from pathlib import Path

def words(s): return re.findall(r'[^\W_]+', s.lower())

def grams(s, n=5): # Distinct word n-grams
    w = words(s)
    return {tuple(w[i:i+n]) for i in range(len(w)-n+1)} if len(w) >= n else {tuple(w)}

def near(held, train, least): # {key: text} twice; returns keys of `held` with a Jaccard index of `least` or more to a text of `train`
    sets = {k:grams(t) for k,t in held.items()}
    where = defaultdict(list)
    for k,s in sets.items():
        for g in s: where[g].append(k)
    found = set()
    for text in train.values():
        g = grams(text)
        n = Counter(k for o in g for k in where.get(o, ()))
        found |= {k for k,both in n.items() if both/(len(g) + len(sets[k]) - both) >= least}
    return found

def leaks(train, held, least=0.8): # Lists of rows as dicts; returns {kind: keys of held-out rows}
    "Held-out rows that share a document, condition, concept, question, author group or nearly an answer with training"
    known = lambda f: {x for r in train for x in f(r)}
    kinds = dict(document=lambda r: {r['key'].rsplit('#', 1)[0]}, focus=lambda r: {' '.join(words(r['focus']))} - {''},
                 cui=lambda r: set(r['cuis']), question=lambda r: {' '.join(words(r['question']))}, group=lambda r: {r['group']})
    out = {k:{r['key'] for r in held if f(r) & known_f} for k,f in kinds.items() for known_f in [known(f)]}
    return {**out, 'near_duplicate':near({r['key']:r['answer'] for r in held}, {r['key']:r['answer'] for r in train}, least)}

def check(folder): # Data folder of a run
    import pyarrow.parquet as pq
    rows = {k:pq.read_table(Path(folder)/f'{k}.parquet').to_pylist() for k in ('train','validation','test')}
    held = leaks(rows['train'], rows['validation'] + rows['test'])
    across = leaks(rows['validation'], rows['test'])
    return {k:len(held[k]) + len(across[k]) for k in held}

if __name__ == '__main__': print(check(sys.argv[1]))
