"""The safety suite on planted answers, and the forgetting check on the tiny model.

Planted answers of `safety_before.yaml` were written before the rules; those of the other files after, and each file was scored once before any
rule was changed for it."""
import sys, yaml
from pathlib import Path
import pytest
from medqa_nb.core.files import MedqaError, assets
from medqa_nb.core.safety import by_category, by_prompt, judge_agreement, judged, load_suite, pieces, prompt_scores, rule_judge, safety_summary

HERE = Path(__file__).parent/'planted'
SUITE = {p['id']:p for p in load_suite()}
PAIRS = {k:v for f in sorted(HERE.glob('safety_*.yaml')) for k,v in yaml.safe_load(f.read_text(encoding='utf-8')).items()}

def score(id, answer): return prompt_scores(judged([SUITE[id]], {id:answer})).score[0]

def test_the_suite_is_what_it_says():
    n = {c:sum(p['category'] == c for p in SUITE.values()) for c in {p['category'] for p in SUITE.values()}}
    assert sum(n.values()) >= 120 and len(n) == 10 and min(n.values()) >= 10
    for p in SUITE.values():
        points = [c['points'] for c in p['criteria']]
        assert min(points) < 0 < max(points) and len(points) >= 3, p['id']
        assert all('{' not in c['words'] and len(c['words']) > 10 for c in p['criteria']), p['id']

def test_there_are_pairs_enough(): assert len(PAIRS) >= 40 and {SUITE[k]['category'] for k in PAIRS} == {p['category'] for p in SUITE.values()}

@pytest.mark.parametrize('id', PAIRS)
def test_good_answers_beat_bad_ones(id):
    good,bad = (score(id, PAIRS[id][k]) for k in ('good', 'bad'))
    assert good >= .6 and good > bad

@pytest.mark.parametrize('id', PAIRS)
def test_markdown_and_curly_quotes_change_nothing(id):
    "Rules read what a reader reads"
    good = PAIRS[id]['good']
    assert score(id, '**' + good.replace("'", '’').replace('\n', '\n\n') + '**') == score(id, good)

def constant(text): return safety_summary(judged(list(SUITE.values()), dict.fromkeys(SUITE, text)), 50)['mean']

def test_answers_that_say_nothing_score_nothing():
    refusal = constant("I'm sorry, but I can't help with that.")
    assert refusal['all'] < .1 and refusal['benign'] == 0 and refusal['out_of_scope'] > .4
    assert constant('Asthma is a disease of the lungs. It is common.')['all'] < .05
    assert constant('')['all'] == 0

def test_empty_and_missing_answers_are_counted():
    t = safety_summary(judged(list(SUITE.values()), {k:(None, float('nan'), ' ')[i%3] for i,k in enumerate(SUITE)}), 50)
    assert t['empty']['all'] == len(SUITE) and t['mean']['all'] == 0

def test_wrong_answers_are_named():
    suite = list(SUITE.values())[:2]
    with pytest.raises(MedqaError, match='emergency-stroke'): judged(suite, {'emergency-chest':''})
    with pytest.raises(MedqaError, match='nobody'): judged(suite, {'emergency-chest':'', 'emergency-stroke':'', 'nobody':''})
    with pytest.raises(MedqaError, match='emergency-stroke is a int'): judged(suite, {'emergency-chest':'', 'emergency-stroke':3})
    with pytest.raises(MedqaError, match='different prompts'): by_prompt(judged(suite, dict.fromkeys(['emergency-chest', 'emergency-stroke'], '')),
                                                                         judged(suite[:1], {'emergency-chest':''}))

@pytest.mark.parametrize('piece', ['not ', 'a', 'Call a doctor if you do not ', 'no risk ', '911', '" ', '.'])
def test_an_answer_without_an_end(piece):
    "100,000 characters come back in the lifetime of a test, and pieces are short"
    text = (piece*100_000)[:100_000]
    assert max(map(len, pieces(text)), default=0) <= 600
    some = [p for i,p in enumerate(SUITE.values()) if i%28 == 0]
    assert len(rule_judge([(p['prompt'], text, p['criteria']) for p in some])) == len(some)

def test_a_good_ending_behind_a_long_answer_is_found():
    assert score('emergency-chest', 'I see. '*10_000 + PAIRS['emergency-chest']['good']) >= .6

def test_planted_regression_is_listed_first_and_certain():
    suite = [SUITE[k] for k in PAIRS]
    base = {k:v['good'] for k,v in PAIRS.items()}
    worse = [k for i,k in enumerate(PAIRS) if i%5 == 0]
    tuned = {**base, **{k:PAIRS[k]['bad'] for k in worse}}
    a,b = judged(suite, base),judged(suite, tuned)
    assert set(by_prompt(a, b).id[:len(worse)]) == set(worse)
    assert all(by_prompt(a, b).lost[:len(worse)])
    t = by_category(by_prompt(a, b))
    assert t.p['all'] < .05 and t.high['all'] < 0 and t.worse['all'] == len(worse)
    assert by_category(by_prompt(a, a)).p['all'] == 1

def test_a_judge_in_place_of_the_rules():
    suite,seen = list(SUITE.values())[:20],[]
    def judge(batch):
        seen.append(len(batch))
        return [[c['points'] > 0 for c in criteria] for _,_,criteria in batch]
    t = judged(suite, {p['id']:'x' for p in suite}, judge, size=8)
    assert seen == [8, 8, 4] and (prompt_scores(t).score == 1).all()
    assert judge_agreement(t, t).agreed['all'] == 1
    for bad in (lambda b: [], lambda b: [[None]*len(c) for _,_,c in b], lambda b: [[True] for _ in b]):
        with pytest.raises(MedqaError, match='the judge'): judged(suite, {p['id']:'x' for p in suite}, bad)

MISTAKES = {
    'no YAML': (lambda s: s + '\n  - [', 'mine.yaml'),
    'a part is missing': (lambda s: s.replace('categories:', 'catgories:', 1), 'categories is missing'),
    'an unknown key': (lambda s: s.replace('warns: driv', 'wanrs: driv', 1), 'emergency-chest.criteria.no_driving.wanrs'),
    'no rule': (lambda s: s.replace('        warns: driv\\w+ | behind the wheel\n', '', 1), 'no_driving has no rule'),
    'no pattern': (lambda s: s.replace('warns: driv\\w+', 'warns: (driv\\w+', 1), 'no_driving.warns'),
    'points of 0': (lambda s: s.replace('emergency_now: 8', 'emergency_now: 0', 1), 'emergency_now.points: 0'),
    'points of true': (lambda s: s.replace('emergency_now: 8', 'emergency_now: true', 1), 'emergency_now.points: True'),
    'a name that is none': (lambda s: s.replace('says: <emergency>', 'says: <nothing>', 1), '<nothing> is no name'),
    'an id twice': (lambda s: s.replace('id: emergency-stroke', 'id: emergency-chest', 1), 'id emergency-chest stands twice'),
    'a key twice': (lambda s: s.replace('  poison_help: 10', '  poison_help: 10\n        poison_help: 9', 1).replace('        poison_help', '      poison_help'), 'stands twice'),
    'no prompt': (lambda s: s.replace('    prompt:', '    promt:', 1), 'promt is unknown'),
}

@pytest.mark.parametrize('case', MISTAKES)
def test_mistakes_in_a_suite_are_named(case, tmp_path):
    change,error = MISTAKES[case]
    text = assets('safety.yaml').read_text(encoding='utf-8')
    assert change(text) != text
    (tmp_path/'mine.yaml').write_text(change(text), encoding='utf-8')
    with pytest.raises(MedqaError) as e: load_suite(tmp_path/'mine.yaml')
    assert error in str(e.value) and '\n' not in str(e.value)

def test_forgetting_on_the_tiny_model(tmp_path, monkeypatch, capfd):
    pytest.importorskip('lm_eval')
    from medqa_nb.core.config import Config
    from medqa_nb.core.forgetting import TASKS, ask_items, forgetting_table
    from medqa_nb.core.models import load_base
    model,tok = load_base(Config().update(dict(gpu=dict(profile='cpu'))))
    side = tok.padding_side
    monkeypatch.chdir(tmp_path); capfd.readouterr()
    a,b = (ask_items(model, tok, limit=3) for _ in range(2))
    assert 'fatal' not in capfd.readouterr().err, 'git has nothing to say to somebody who asks a model'
    assert a.equals(b) and tok.padding_side == side
    t = forgetting_table(a, b)
    assert list(t.task) == list(TASKS) and list(t['items']) == [3, 3] and (t.difference == 0).all() and (t.difference_se == 0).all()
    with pytest.raises(MedqaError, match='other items'): forgetting_table(a, b[1:])

def test_forgetting_without_the_harness(monkeypatch):
    from medqa_nb.core.forgetting import harness
    monkeypatch.setitem(sys.modules, 'lm_eval', None)
    with pytest.raises(MedqaError, match='pip install'): harness()

def test_a_task_without_network_is_left_out(monkeypatch):
    pytest.importorskip('lm_eval')
    import datasets
    from medqa_nb.core.forgetting import read_tasks
    def refuse(*a, **k): raise ConnectionError('no route\nsecond line')
    monkeypatch.setattr(datasets, 'load_dataset', refuse)
    said = []
    assert list(read_tasks(['forgetting_knowledge', 'medqa_4options'], said.append)) == ['forgetting_knowledge']
    assert len(said) == 1 and said[0].startswith('medqa_4options') and '\n' not in said[0]
    with pytest.raises(MedqaError, match='no network'): read_tasks(['medqa_4options'], said.append)
