"Review by people: blinding, the form, what comes back, and what is wrong with it."
import csv, json
from itertools import product
import pandas as pd, pytest
from medqa_nb.core.files import MedqaError
from medqa_nb.core.review import (Review, alpha, annotations, axes, blank_sheet, columns, expert_references, open_sheet, preferences,
                                  read_reviews, read_sheet, review_summary, reviewer_agreement, sides, to_do, write_sheet)

ROWS = pd.DataFrame(dict(key=[f'f/{i}#1' for i in range(4)], question=['Was ist Gicht?', 'a "quoted", one', 'two\nlines', '=1+1']))
ANSWERS = {s:{k:t for k,t in zip(ROWS.key, texts)} for s,texts in dict(
    base=['- a list\n- of things', '=cmd()', '', "'quoted'"], tuned=['A; B, "C"', '<b>bold</b>', 'Hüfte 🦴', '@home']).items()}

def form(d, reviewer='ann', seed=3): return Review(d, ROWS, ANSWERS, reviewer, seed)

def fill(f, best=True):
    "Judge every question, the left answer best"
    for i,_ in enumerate(f.keys):
        for side,a in product(('left', 'right'), axes): f.widgets[side, a].value = axes[a][1][0 if best or side == 'left' else -1]
        f.widgets['left', 'preference'].value = 'left'
        f.buttons['Next'].click()

def test_csv_round_trip_of_awkward_texts(tmp_path):
    sheet = blank_sheet(ROWS, ANSWERS, 3, 'ann')
    write_sheet(tmp_path/'a.csv', sheet)
    assert read_sheet(tmp_path/'a.csv') == sheet
    cells = [c for r in csv.reader((tmp_path/'a.csv').open(encoding='utf-8-sig', newline='')) for c in r]
    assert not any(c[:1] in ('=', '+', '-', '@') for c in cells if c)

def test_a_spreadsheet_that_writes_semicolons(tmp_path):
    sheet = blank_sheet(ROWS, ANSWERS, 3, 'ann')
    with (tmp_path/'a.csv').open('w', encoding='utf-8', newline='') as f:
        w = csv.DictWriter(f, columns, delimiter=';'); w.writeheader(); w.writerows(sheet)
    assert [r['answer'].split() for r in read_sheet(tmp_path/'a.csv')] == [r['answer'].removeprefix("'").split() for r in sheet]

def test_no_system_is_named(tmp_path):
    f = form(tmp_path)
    fill(f)
    text = (tmp_path/'ann.csv').read_text(encoding='utf-8') + json.dumps([str(w.get_state()) for w in f.widgets.values()])
    assert 'base' not in text and 'tuned' not in text

def test_the_order_depends_on_seed_question_and_reviewer():
    left = lambda seed, who: [sides(f'k{i}', ('base', 'tuned'), seed, who)['left'] for i in range(200)]
    assert left(0, 'ann') == left(0, 'ann') and len({tuple(left(s, w)) for s in (0, 1) for w in ('ann', 'bob')}) == 4
    assert 70 < left(0, 'ann').count('base') < 130
    with pytest.raises(MedqaError, match='two systems'): sides('k', ('base', 'base'), 0, 'ann')

def test_the_form_saves_each_change_and_goes_on(tmp_path):
    f = form(tmp_path)
    assert not (tmp_path/'ann.csv').exists()
    f.widgets['right', 'bias'].value = 'yes'
    assert [r['bias'] for r in read_sheet(tmp_path/'ann.csv')][:2] == ['', 'yes']
    f.widgets['right', 'bias'].value = ''
    assert [r['bias'] for r in read_sheet(tmp_path/'ann.csv')][:2] == ['', '']
    f.buttons['Previous'].click(); assert f.at == 0
    fill(f)
    assert f.at == 3 and '0 to finish' in f.said.value
    again = form(tmp_path)
    assert again.sheet == f.sheet and again.at == 0 and not to_do(again.sheet)

def test_the_form_opens_where_it_was_left(tmp_path):
    f = form(tmp_path)
    for side,a in product(('left', 'right'), axes): f.widgets[side, a].value = axes[a][1][1]
    assert form(tmp_path).at == 0
    f.widgets['left', 'preference'].value = 'neither'
    g = form(tmp_path)
    assert g.at == 1 and g.widgets['left', 'harm'].value == '' and form(tmp_path, 'bob').at == 0

def test_answers_are_shown_as_text(tmp_path):
    f = form(tmp_path)
    f.buttons['Next'].click()
    shown = f.texts['left'].value + f.texts['right'].value
    assert '&lt;b&gt;' in shown and '<b>' not in shown

def test_a_full_disk_is_said_in_the_form(tmp_path, monkeypatch):
    f = form(tmp_path)
    def full(*a): raise MedqaError('x.csv could not be written (No space left on device)')
    monkeypatch.setattr('medqa_nb.core.review.write_whole', full)
    f.widgets['left', 'harm'].value = 'none'
    assert 'No space left' in f.said.value

def test_keyboard_and_both_generations_of_widgets(tmp_path):
    "Lists, fields and buttons only: each has a place in the browser's tab order"
    import ipywidgets as W
    f = form(tmp_path)
    assert {type(w) for w in f.widgets.values()} == {W.Dropdown, W.Textarea} and {type(b) for b in f.buttons.values()} == {W.Button}
    assert f.widgets['left', 'preference'].options[1:] == tuple((o, o) for o in preferences)

def broken(d, change):
    sheet = blank_sheet(ROWS, ANSWERS, 3, 'ann')
    write_sheet(d/'ann.csv', sheet)
    text = (d/'ann.csv').read_text(encoding='utf-8-sig')
    assert change(text) != text
    (d/'ann.csv').write_bytes(t if isinstance(t := change(text), bytes) else t.encode())
    with pytest.raises(MedqaError) as e: read_sheet(d/'ann.csv')
    assert 'ann.csv' in str(e.value) and '\n' not in str(e.value)
    return str(e.value)

def test_mistakes_in_a_sheet_are_named(tmp_path):
    assert "line 3, column side: 'rigth' is none of left, right" in broken(tmp_path, lambda s: s.replace('f/0#1,right', 'f/0#1,rigth').replace("\n- of", ' of'))
    assert 'column harm is missing' in broken(tmp_path, lambda s: s.replace(',harm,', ',hram,', 1))
    assert "'extra' is unknown" in broken(tmp_path, lambda s: s.replace(',note', ',note,extra', 1))
    assert 'stands twice' in broken(tmp_path, lambda s: s.replace('f/0#1,right', 'f/0#1,left'))
    assert 'column key: it is empty' in broken(tmp_path, lambda s: s.replace('f/0#1', '', 1))
    assert 'fewer cells' in broken(tmp_path, lambda s: s + 'f/9#1,left\n')
    assert 'not UTF-8' in broken(tmp_path, lambda s: s.encode('utf-16'))
    assert 'no CSV' in broken(tmp_path, lambda s: s + '"open')

def test_other_answers_than_before_are_refused(tmp_path):
    form(tmp_path).widgets['left', 'harm'].value = 'none'
    changed = {**ANSWERS, 'tuned':{**ANSWERS['tuned'], 'f/2#1':'another'}}
    with pytest.raises(MedqaError, match='other answers .*f/2#1'): open_sheet(tmp_path, ROWS, changed, 3, 'ann')
    with pytest.raises(MedqaError, match='has no answer to f/0#1'): blank_sheet(ROWS, {**ANSWERS, 'tuned':{}}, 3, 'ann')
    for name in ('', '../x', 'a/b', None):
        with pytest.raises(MedqaError, match='reviewer'): form(tmp_path, name)
    with pytest.raises(MedqaError, match='no question'): Review(tmp_path, ROWS[:0], ANSWERS, 'zoe')

def test_reviews_come_back_with_the_systems_names(tmp_path):
    for who in ('ann', 'bob'): fill(form(tmp_path, who), best=False)
    t = read_reviews(tmp_path, ('base', 'tuned'), 3)
    assert len(t) == 2*4*(2*len(axes) + 1)
    for r in t[t.axis == 'harm'].itertuples():
        left = sides(r.key, ('base', 'tuned'), 3, r.reviewer)['left']
        assert r.value == ('none' if r.system == left else 'severe or death')
    assert read_reviews(tmp_path, ('base', 'tuned'), 3, ROWS.key).equals(t)
    with pytest.raises(MedqaError, match='1 keys are unknown, the first f/0#1'): read_reviews(tmp_path, ('base', 'tuned'), 3, ROWS.key[1:])
    with pytest.raises(MedqaError, match='no judgement'): read_reviews(tmp_path/'none', ('base', 'tuned'), 3)

def test_summary_finds_the_better_system(tmp_path):
    keys = [f'k{i}' for i in range(30)]
    rows = [(r, k, s, 'harm', 'none' if s == 'base' or i%3 else 'severe or death') for r in ('ann', 'bob') for i,k in enumerate(keys) for s in ('base', 'tuned')]
    rows += [(r, k, 'base', 'preferred', 'yes') for r in ('ann', 'bob') for k in keys]
    s = review_summary(pd.DataFrame(rows, columns=['reviewer', 'key', 'system', 'axis', 'value']), ('base', 'tuned'))
    assert s.base['harm'] == 1 and abs(s.tuned['harm'] - 2/3) < 1e-9 and s.p['harm'] < .05 and s.difference['preferred'] == -1

def test_alpha_is_krippendorffs():
    "Two reviewers, ten units, nominal: 1 - (n-1)*observed/expected disagreement, reckoned by hand"
    a,b = 'yyyyynnnnn','yyyynnnnny'
    t = pd.DataFrame([(r, str(i), 's', dict(y='yes', n='no')[v]) for r,vs in (('a', a), ('b', b)) for i,v in enumerate(vs)], columns=['reviewer', 'key', 'system', 'value'])
    assert abs(alpha(t, ('yes', 'no'), 'nominal') - (1 - 19*4/(2*10*10))) < 1e-9
    assert alpha(t[t.reviewer == 'a'], ('yes', 'no'), 'nominal') is None
    assert alpha(t.assign(value='yes'), ('yes', 'no'), 'nominal') is None
    one = t.assign(axis='bias')
    assert reviewer_agreement(one).shared['bias'] == 10 and pd.isna(reviewer_agreement(one).alpha['harm'])

def test_expert_annotations_become_references(tmp_path):
    f = form(tmp_path)
    f.widgets['left', 'symptoms'].value = 'joint pain;  swelling ; Joint pain'
    form(tmp_path, 'bob').widgets['left', 'must_have'].value = 'Comes in attacks.\nUric acid'
    assert expert_references(tmp_path) == {'f/0#1':dict(symptoms=['joint pain', 'swelling'], treatments=[], must_have=['Comes in attacks.', 'Uric acid'])}
    assert set(annotations) < set(columns)
