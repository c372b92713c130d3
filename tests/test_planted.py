"""Personal data, harm, crises and minors on invented cases; the tables of what is found are printed with `pytest -s`.

The cases of `*_heldout` were written from the names of the kinds alone, before any rule."""
import re
from collections import Counter
from pathlib import Path
import pytest
from medqa_nb.core.harm import harms, sensitive
from medqa_nb.core.personal import redact

HERE = Path(__file__).parent/'planted'
MARK = re.compile(r'\{(\w+):([^}]*)\}')

def lines(name): # File; yields its cases
    for l in (HERE/name).read_text(encoding='utf-8').splitlines():
        if l and not l.startswith('#'): yield l.replace('\\n', '\n')

def survives(value, text, out): # Planted value; post; redacted post
    "Is anything of the value still there that was not elsewhere in the post? A title before a name, and \"u/\" before a user, may stay"
    rest = Counter(re.findall(r'\w+', text.replace(value, ' ')))
    left = Counter(re.findall(r'\w+', re.sub(r'\[\w+\]', ' ', out))) - rest
    return any(w for w in re.findall(r'\w+', value) if left[w] and w not in ('Dr', 'Mr', 'Mrs', 'Ms', 'u'))

@pytest.mark.parametrize('name', ['personal_seen.txt', 'personal_heldout.txt'])
def test_personal_data(name):
    n,found,touched = Counter(),Counter(),[]
    for l in lines(name):
        text = MARK.sub(lambda m: m[2], l)
        out,_ = redact(text)
        for kind,value in MARK.findall(l):
            n[kind] += 1
            found[kind] += not survives(value, text, out)
        if not MARK.search(l) and out != text: touched.append((text, out))
    print(name, {k:f'{found[k]}/{n[k]}' for k in n})
    assert n.total() > 100 and found.total() >= 0.98*n.total()
    assert not touched

def test_planted_cases_are_many_enough():
    assert sum(len(MARK.findall(l)) for name in ('personal_seen.txt', 'personal_heldout.txt') for l in lines(name)) >= 200

def test_harm_is_found_and_warnings_are_not():
    wrong,n = [],Counter()
    for l in lines('harm_heldout.tsv'):
        kind,text = l.split('\t')
        found,ok = {k for k,_ in harms(text)},kind == 'ok'
        n[kind] += 1
        if (found if ok else kind not in found): wrong.append((kind, found, text))
    print(dict(n))
    assert min(n.values()) >= 10 and n['ok'] >= 50
    assert not wrong

def test_crises_and_minors():
    wrong = [l for l in lines('sensitive_heldout.tsv') for kind,text in [l.split('\t')] if (sensitive(text) or 'none') != kind]
    assert not wrong

@pytest.mark.parametrize('piece', ['a', '@', '1-', 'Dr. ', 'A ', 'u/', '(', 'my name is ', '9 a', 'Take 2 ', 'not ', 'a@a.'])
def test_long_hostile_texts(piece):
    "A pattern that backtracks would not come back from these in the lifetime of a test"
    text = piece*(200_000//len(piece))
    out,found = redact(text)
    assert (out == text) == (not found)
    assert harms(text) == [] and sensitive(text) is None
