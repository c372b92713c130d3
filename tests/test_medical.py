"""Planted regressions in answers about real MedQuAD, which overlap hardly notices, and what must hold for any text."""
import os, re
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from medqa_nb.core.entailment import Lexical, faithfulness_table
from medqa_nb.core.entities import medical_scores, medical_table, quantities, sentence_spans
from medqa_nb.core.entities import warnings as warned
from medqa_nb.core.metrics import score
from medqa_nb.core.statistics import paired_difference
from medqa_nb.core.vocabulary import Terms, make_vocabulary

archive = os.environ.get('MEDQA_MEDQUAD')
real = pytest.mark.skipif(not archive, reason='MEDQA_MEDQUAD does not name an archive of MedQuAD')

def thinned(text): # Every fifth sentence is left out: good, but not the reference itself
    return ' '.join(text[a:b].strip() for i,(a,b) in enumerate(sentence_spans(text)) if i % 5 != 4)

def flipped(text): # What is said becomes its opposite in every second sentence
    parts = [text[a:b] for a,b in sentence_spans(text)]
    def flip(s):
        if re.search(r'\b(not|no|never)\b', s): return re.sub(r'\b(not|no|never) ', '', s, count=1)
        return re.sub(r'\b(is|are|may|can|include|includes|has|have|occurs?|causes?)\b', r'\1 not', s, count=1)
    return ''.join(flip(s) if i % 2 == 0 else s for i,s in enumerate(parts))

def redosed(text): # Every number with a unit is another number
    for a,b,_ in reversed(quantities(text)): text = text[:a] + re.sub(r'\d', lambda m: str((int(m[0]) + 3) % 9 + 1), text[a:b]) + text[b:]
    return text

def unwarned(text): # Sentences that warn are left out
    return ''.join(text[a:b] for a,b in sentence_spans(text) if not warned(text[a:b]))

def one_of_them(text): # Another fault in each answer
    return flipped(text) if len(text) % 3 == 0 else unwarned(text) if warned(text) else redosed(text)

@pytest.fixture(scope='module')
def good():
    "300 held-out rows, 100 whose good answer warns and 200 whose good answer has quantities, so that there is something to plant; their good answers; the vocabulary"
    from medqa_nb.core.sources import read_source
    from medqa_nb.data import make_splits
    df = make_splits([archive], split_seed=0)[0]
    test = df[df.split == 'test']
    warn,count = (test.answer.map(f).astype(bool) for f in (lambda s: bool(warned(thinned(s))), lambda s: bool(quantities(thinned(s)))))
    assert warn.sum() >= 100 and (count & ~warn).sum() >= 200
    import pandas as pd
    rows = pd.concat([test[warn].sample(100, random_state=0), test[count & ~warn].sample(200, random_state=0)])
    base,terms = rows.answer.map(thinned),Terms(make_vocabulary(read_source(archive)[0], df[df.split == 'train']))
    return rows, base, terms, measured(base, rows, terms)

def measured(said, rows, terms):
    "A column for each measure"
    t = medical_table(rows.key, said, rows.answer, terms, rows.question).pivot(index='key', columns='metric', values='value').loc[rows.key]
    t['contradicted'] = faithfulness_table(rows.key, said, rows.answer, Lexical(terms)).query('metric == "contradicted"').set_index('key').value[rows.key]
    t['rougeL'] = [score(a, r)['rougeL'] for a,r in zip(said, rows.answer)]
    return t

def compared(good, change):
    "Differences of a system that does `change` to one answer in five, from the good one: {metric: {mean, p}}"
    rows,base,terms,wide = good
    rng,out = np.random.default_rng(0),{}
    hit = rng.permutation(len(rows)) < len(rows)//5
    tuned = [change(a) if h else a for a,h in zip(base, hit)]
    assert np.mean([a != b for a,b in zip(base, tuned)]) > .05 # 60 answers at most; not all have a warning
    t = measured(tuned, rows, terms)
    for m in t:
        known = (t[m].notna() & wide[m].notna()).to_numpy()
        if known.sum() > 20: out[m] = paired_difference(t[m][known], wide[m][known], rows.group.to_numpy()[known])
    return out

@real
@pytest.mark.parametrize('change,seen', [(flipped, ['entity_f1', 'contradicted']), (redosed, ['number_f1']), (unwarned, ['safety']),
    (one_of_them, ['entity_f1', 'contradicted', 'number_f1', 'safety'])], ids=['negations', 'numbers', 'warnings', 'all'])
def test_planted_regressions(good, change, seen):
    "Negations flipped, numbers changed, warnings deleted in a fifth of the good answers: the measure that is meant for it says worse with p < 0.05, while ROUGE-L moves by less than 0.01"
    d = compared(good, change)
    assert abs(d['rougeL']['mean']) < .01, d['rougeL']
    for m in seen: assert d[m]['p'] < .05 and (d[m]['mean'] > 0) == (m == 'contradicted'), (m, d[m])

@real
def test_good_against_itself(good):
    "No change, no difference"
    rows,_,terms,_ = good
    t = medical_table(rows.key, rows.answer, rows.answer, terms)
    assert t.query('metric != "reversed"').value.dropna().eq(1).all() and t.value.notna().mean() > .3

WORDS = 'blue fever rash chills azizol bezizol no not without 200 mg twice a day . ; call your doctor if 1 in 4 people \n - ( ) é 🫀 may can avoid 3,000'.split(' ')
terms = Terms({w:dict(kind=k, of=w) for w,k in {'blue fever':'condition', 'rash':'symptom', 'chill':'symptom', 'azizol':'treatment', 'bezizol':'treatment'}.items()})
prose = st.lists(st.sampled_from(WORDS), max_size=60).map(' '.join)

@settings(max_examples=150, deadline=None)
@given(prose, prose)
def test_any_text(a, r):
    "Scores lie between 0 and 1, a text agrees with itself, and what has nothing to find has no score"
    s,same = medical_scores(a, r, terms),medical_scores(r, r, terms)
    assert all(v is None or 0 <= v <= 1 for k,v in s.items() if k != 'reversed')
    assert all(v in (None, 1) for k,v in same.items() if k != 'reversed') and same['reversed'] in (None, 0)
    assert {k for k,v in s.items() if v is None} >= {k for k,v in same.items() if v is None}
    f = faithfulness_table(['k'], [r], [r], Lexical(terms)).set_index('metric').value
    assert not f['contradicted'] > 0 or 'not' in r or 'no ' in r or 'without' in r

def test_order_of_sentences_is_free():
    parts = ['Blue fever causes rash.', 'It never causes chills.', 'Take 200 mg of azizol twice a day.', 'Call your doctor if the rash spreads.']
    s = medical_scores(' '.join(parts[::-1]), ' '.join(parts), terms)
    assert all(v in (None, 1) for k,v in s.items() if k != 'reversed') and s['reversed'] == 0
