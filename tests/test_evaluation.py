"Evaluation sees what overlap does not, keeps what cost money, and refuses what would be unfair."
import html, re, shutil, sys, time
import pandas as pd
import pytest
from medqa_nb.core.files import MedqaError, read_json, read_table, write_json, write_table
from medqa_nb.core.runs import Run

quiet = lambda *o: None
SMALL = dict(gpu=dict(profile='cpu'), evaluation=dict(questions=12, max_new_tokens=12, resamples=500, nli='lexical', bertscore=None, forgetting=[]),
             training=dict(max_steps=2, eval_steps=2, save_steps=2, effective_batch=2, max_length=96))

@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    "Sample data and an adapter of two steps"
    from medqa_nb.data import build_data
    from medqa_nb.training import train
    run = Run.open(str(tmp_path_factory.mktemp('evaluation')/'r'), flags=SMALL)
    build_data(run, progress=False)
    train(run, say=quiet)
    return run

@pytest.fixture
def run(prepared, tmp_path):
    shutil.copytree(prepared.local, tmp_path/'r')
    return Run.open(str(tmp_path/'r'))

def said_by(run, **texts): # {system: function of (answer, i)}
    "A run whose systems said something to all test questions"
    rows = read_table(run.path('data', 'test.parquet'))
    return rows, {s:pd.DataFrame(dict(key=rows.key, answer=[f(a, i) for i,a in enumerate(rows.answer)], tokens=9, truncated=False)) for s,f in texts.items()}

def deny(a): return re.sub(r'\b(is|are|may|can|include|includes)\b', r'\1 not', a)

def report_of(run, rows, answers):
    from medqa_nb.evaluation import make_report
    for s,a in answers.items(): write_table(run.path('evaluation', s, 'generations.parquet'), a)
    return make_report(run, rows, answers, quiet)

def test_the_published_case(run):
    "Overlap rises while what is stated turns into its opposite: the first alarm, the headline and the page say so"
    first = lambda a, i: ' '.join(a.split()[:len(a.split())*2//3])
    rows,answers = said_by(run, base=first, tuned=lambda a, i: deny(a), nearest=lambda a, i: 'It is a disease.', lead=lambda a, i: 'It is.')
    run.config.evaluation.safety = False
    r = report_of(run, rows, answers)
    d = r['differences']
    assert d['rougeL']['verdict'] == 'better' and d['contradicted']['verdict'] == 'worse'
    assert 'overlap with the references rose' in r['alarms'][0] and 'contradicted' in r['alarms'][0]
    page,text = (run.path('evaluation', f'report.{o}').read_text() for o in ('html', 'md'))
    assert page.count('data:image/png;base64,') == len(list(run.path('evaluation', 'figures').glob('*.png'))) and 'Worse in: ' in page
    assert all(run.path('evaluation', o).exists() for o in re.findall(r'\]\((figures/[^)]+)\)', text)) and '- **Alarm:** Overlap' in text

def test_no_difference_is_no_verdict(run):
    "Two systems that say the same: nothing is better, and the report says that it cannot tell"
    rows,answers = said_by(run, base=lambda a, i: a[:90], tuned=lambda a, i: a[:90], nearest=lambda a, i: a, lead=lambda a, i: a[:40])
    run.config.evaluation.safety = False
    r = report_of(run, rows, answers)
    assert {d['verdict'] for d in r['differences'].values()} == {'cannot tell'}
    assert any('cannot tell whether tuning helped' in a for a in r['alarms']) and r['examples'] == dict(gained=[], lost=[])

def test_bad_answers_are_counted(run):
    "Empty, missing, endless and broken answers have scores or none; nothing fails, and what is wrong stands in the report"
    odd = ['', None, float('nan'), ' \n', 'word '*20000, '<|eot_id|>', 'É\u200b́ ‮', '🫀'*300]
    rows,answers = said_by(run, base=lambda a, i: a, tuned=lambda a, i: odd[i % len(odd)], nearest=lambda a, i: a, lead=lambda a, i: a)
    run.config.evaluation.safety = False
    r = report_of(run, rows, answers)
    assert r['answers']['tuned']['empty'] > .4 and any('tuned answers are empty' in a for a in r['alarms'])
    assert r['differences']['completeness']['verdict'] == 'worse' and r['systems']['base']['rougeL']['mean'] > .99

def test_stages_and_what_is_made_again(run):
    "Answers are made once; another deciding measure or a reviewer's sheet makes the report anew from them; other answer settings are refused"
    from medqa_nb.evaluation import evaluate_run
    lines = []
    r = evaluate_run(run, lines.append)
    assert r['safety']['categories'][0]['prompts'] >= 120 and r['metric'] == 'completeness' and r['forgetting'] is None
    assert {*r['systems']} == {'base', 'tuned', 'nearest', 'lead'} and {f'{s}: scoring 12 answers' for s in r['systems']} < {*lines}
    seen = read_json(run.path('evaluation', 'progress.json'))
    assert (seen['state'], seen['done'], seen['total'], seen['unit'], seen['lines'][-1]) == ('done', 4, 4, 'systems scored', 'comparing') and time.time() - seen['time'] < 600
    before = {s:run.path('evaluation', s, 'generations.parquet').stat().st_mtime_ns for s in r['systems']}
    assert evaluate_run(run, lines.append) == r
    run.config.evaluation.metric = 'rougeL'
    assert evaluate_run(run, quiet)['metric'] == 'rougeL'
    assert {s:run.path('evaluation', s, 'generations.parquet').stat().st_mtime_ns for s in r['systems']} == before
    run.config.evaluation.metric = 'bleurt'
    with pytest.raises(MedqaError, match="'bleurt' is no measure: choose from rouge1"): evaluate_run(run, quiet)
    run.config.evaluation.metric,run.config.evaluation.max_new_tokens = 'rougeL',9
    with pytest.raises(MedqaError, match=r'evaluation.max_new_tokens \(was 12, now 9\)'): evaluate_run(run, quiet)

def test_progress_while_answers_come(run):
    "Counts go over all answers of all systems; what ended it stands in the file; what was answered is not asked again"
    from medqa_nb.core.generation import Progress, read_lines
    from medqa_nb.evaluation import answer_all, evaluation_rows
    rows,seen = evaluation_rows(run),[]
    run.config.evaluation.safety = False
    def count(*o):
        seen.append(o)
        if o[0] == 18: raise KeyboardInterrupt
    p = Progress(run.path('evaluation', 'progress.json'), quiet)
    with pytest.raises(KeyboardInterrupt), p: answer_all(run, rows, p, count)
    assert seen[0] == (0, 24, 'answers') and seen[-1] == (18, 24, 'answers') and read_json(p.path)['state'] == 'stopped'
    assert len(read_lines(run.path('evaluation', 'base', 'generations.jsonl'))) == 12
    before = read_table(run.path('evaluation', 'base', 'generations.parquet'))
    assert answer_all(run, rows, quiet)['base'].equals(before)

def agreeable(texts): # A model that finds every criterion met
    return ['[' + ', '.join(['true']*len(re.findall(r'^\d+\. ', t.split('<criteria>')[1], re.M))) + ']' for t in texts]

def test_a_model_judges_the_suite(run, monkeypatch):
    "By choice a language model judges; its verdicts are kept, the report names it and says how far the rules agree, and shows what was lost in words"
    from medqa_nb.core.safety import load_suite
    suite,calls = load_suite(),[]
    rows,answers = said_by(run, **{s:(lambda a, i: a[:80]) for s in ('base', 'tuned', 'nearest', 'lead')})
    for s,text in dict(base='This is dangerous. Call 911 now, and ask your doctor.', tuned='It is nothing, wait until next week. <b>Take two.</b>').items():
        write_table(run.path('evaluation', s, 'safety.parquet'), pd.DataFrame(dict(key=[p['id'] for p in suite], answer=text, tokens=9, truncated=False)))
    r = report_of(run, rows, answers)
    page = run.path('evaluation', 'report.html').read_text()
    assert r['safety']['harms'] and r['safety']['lost'][0]['id'] in r['safety']['harms'] and r['safety']['agreement'] is None
    first = r['safety']['lost'][0]
    assert first['lost'][0].startswith('Now: ') and all(html.escape(o) in page for o in (first['prompt'], first['lost'][0])) and '<b>Take two' not in page
    assert 'something harmful that the base does not say' in ' '.join(r['alarms'])
    monkeypatch.setattr(sys.modules[__name__], 'counted', lambda ts: calls.append(len(ts)) or agreeable(ts), raising=False)
    run.config.evaluation.judge = f'{__name__}:counted'
    r = report_of(run, rows, answers)
    assert calls == [len(suite)]*2 and r['safety']['judge'].endswith(':counted') and r['safety']['agreement']['agreed'] < .9 and r['safety']['lost'] == []
    report_of(run, rows, answers)
    assert len(calls) == 2
    run.config.evaluation.judge = 'nobody'
    with pytest.raises(MedqaError, match="evaluation.judge = 'nobody' cannot be had"): report_of(run, rows, answers)

def test_answers_to_other_questions_are_named(run):
    "A key that is unknown, missing or there twice; answers and references that are not as many"
    rows,answers = said_by(run, **{s:(lambda a, i: a[:80]) for s in ('base', 'tuned', 'nearest', 'lead')})
    run.config.evaluation.safety = False
    for bad in (answers['tuned'][1:], answers['tuned'].assign(key=lambda t: t.key.where(t.index > 0, 'other#1')), pd.concat([answers['tuned'], answers['tuned'][:1]])):
        with pytest.raises(MedqaError, match=r"tuned: \d questions are unknown, unanswered or answered twice"): report_of(run, rows, {**answers, 'tuned':bad})
    from medqa_nb.core.metrics import score_table
    with pytest.raises(MedqaError, match='2 answers and 1 references'): score_table(['a', 'b'], ['x', 'y'], ['x'])

def test_reviews_come_back(run):
    "A filled sheet appears in the report, and what the expert lists is what answers are scored against"
    from medqa_nb.core.review import axes, blank_sheet, write_sheet
    from medqa_nb.evaluation import evaluate_run, pick_questions
    r = evaluate_run(run, quiet)
    rows = pick_questions(read_table(run.path('data', 'test.parquet')), 12, run.config.run.seed)
    answers = {s:read_table(run.path('evaluation', s, 'generations.parquet')).set_index('key').answer for s in ('base', 'tuned')}
    sheet = blank_sheet(rows[:6], answers, run.config.run.seed, 'ann')
    sheet[1]['must_have'] = 'An expert who only annotates blocks nothing'
    write_sheet(run.path('evaluation', 'reviews', 'ann.csv'), sheet)
    half = evaluate_run(run, quiet)
    assert half['review'] is None and any(o.startswith('Reviews are not counted yet') for o in half['notes'])
    for o in sheet: o.update({a:c[0] for a,(_,c,_) in axes.items()}); o['preference'] = 'left' if o['side'] == 'left' else ''
    sheet[0]['must_have'] = 'Nobody would ever say quixotic zeppelin'
    write_sheet(run.path('evaluation', 'reviews', 'ann.csv'), sheet)
    again = evaluate_run(run, quiet)
    assert again['review']['reviewers'] == 1 and 'preferred' in [a['axis'] for a in again['review']['axes']]
    s = read_table(run.path('evaluation', 'base', 'scores.parquet')).query('metric == "completeness"').set_index('key').value
    assert s[sheet[0]['key']] == 0 and 'Judged by people' in run.path('evaluation', 'report.html').read_text() and r['review'] is None

def test_other_data_than_the_adapter_learnt_from(run):
    "The data was split anew after training: a test row may be a training row, so it is refused"
    from medqa_nb.evaluation import evaluate_run
    train = read_table(run.path('data', 'train.parquet'))
    write_table(run.path('data', 'train.parquet'), train[1:])
    with pytest.raises(MedqaError, match='not the data that .*adapter learnt from'): evaluate_run(run, quiet)

def test_a_blank_reference_is_named(run):
    from medqa_nb.evaluation import evaluate_run
    p = run.path('data', 'test.parquet')
    test = read_table(p); test.loc[:, 'answer'] = ' '
    write_table(p, test)
    with pytest.raises(MedqaError, match=r'test.parquet: \d+ rows have a blank answer'): evaluate_run(run, quiet)

def test_training_is_chosen_by_the_same_functions(run):
    "The hook of the training stage answers a fixed part of the validation questions and scores them as the evaluation does"
    from medqa_nb.core.models import load_base
    from medqa_nb.training import answer_scores, training_rows
    run.config.training.metric,run.config.training.answers = 'completeness',4
    valid,asked = training_rows(run)[1],[]
    measure,(model,tok) = answer_scores(run, valid),load_base(run.config)
    import medqa_nb.core.scores as scores
    real = scores.score_answers
    def seen(keys, *o): asked.append(list(keys)); return real(keys, *o)
    scores.score_answers = seen
    try: first,again = answer_scores(run, valid)(model, tok),answer_scores(run, valid)(model, tok)
    finally: scores.score_answers = real
    assert first == again == measure(model, tok) and asked[0] == asked[1] and len(asked[0]) == 4 and {'completeness', 'rougeL', 'contradicted'} <= {*first}

def test_further_adapters_and_merging(run, tmp_path):
    "Another adapter answers the same questions under its folder's name; merged ones answer, too"
    from medqa_nb.evaluation import evaluate_run
    shutil.copytree(run.path('training', 'adapter'), tmp_path/'twin')
    run.config.evaluation.adapters,run.config.evaluation.safety = [str(tmp_path/'twin')],False
    r = evaluate_run(run, quiet)
    texts = {s:read_table(run.path('evaluation', s, 'generations.parquet')).answer.tolist() for s in ('tuned', 'twin')}
    assert texts['tuned'] == texts['twin'] and r['systems']['twin'] == r['systems']['tuned']
    shutil.rmtree(run.path('evaluation'))
    run.config.evaluation.adapters,run.config.evaluation.merge = [],True
    assert evaluate_run(run, quiet)['n'] == 12
    run.config.evaluation.adapters = [str(tmp_path/'nothing')]
    with pytest.raises(MedqaError, match='evaluation.adapters: .*nothing holds no adapter'): evaluate_run(run, quiet)

def test_the_page_in_a_browser(run, tmp_path):
    "Chromium lays the page out: all pictures have a size, nothing is wider than the window"
    import subprocess
    chromium = shutil.which('chromium')
    if not chromium: pytest.skip('needs chromium')
    rows,answers = said_by(run, base=lambda a, i: a[:60], tuned=lambda a, i: a, nearest=lambda a, i: '<script>alert(1)</script>', lead=lambda a, i: a[:40])
    run.config.evaluation.safety = False
    report_of(run, rows, answers)
    page = run.path('evaluation', 'report.html').read_text()
    probe = '<script>onload=()=>{document.title=[document.images.length,[...document.images].filter(i=>i.naturalWidth>100).length,document.documentElement.scrollWidth<=innerWidth].join()}</script>'
    (tmp_path/'page.html').write_text(page.replace('</body>', probe + '</body>'))
    dom = subprocess.run([chromium, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
        f'--user-data-dir={tmp_path}/profile', '--virtual-time-budget=3000', '--window-size=500,900', '--dump-dom', f'file://{tmp_path}/page.html'], capture_output=True, text=True, timeout=120).stdout
    n,whole,narrow = re.search(r'<title>(\d+),(\d+),(\w+)</title>', dom).groups()
    assert int(n) == int(whole) >= 5 and narrow == 'true' and '<script>alert' not in page
