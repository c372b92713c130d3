"Comparing settings: the statistics against their references and the truth, the grid against kills and bad input."
import json, os, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pandas as pd
import pytest
from medqa_nb.core import seeds as S
from medqa_nb.core.config import Config
from medqa_nb.core.files import MedqaError, read_json, read_table, write_json, write_table
from medqa_nb.core.grid import cell_config, do_all, finished, halve, plan_grid, planned, quote_grid, read_ledger, settings_of, write_ledger
from medqa_nb.core.runs import Run
from medqa_nb.core.statistics import cluster_bootstrap, holm, paired_difference, sign_flips
from medqa_nb.core.verdicts import analyse, sentence

rng = np.random.default_rng(0)

def test_t_like_scipy():
    from scipy import stats
    for df in (1, 2, 3, 4, 7, 30, 39, 361, 362):
        for t in (.1, 1, 2.5, 6, 20): assert S.t_tails(t, df) == pytest.approx(2*stats.t.sf(t, df), rel=1e-6, abs=1e-13)
        for p in (.5, .05, .01, .05/15, 1e-5): assert S.t_reach(p, df) == pytest.approx(stats.t.isf(p/2, df), rel=1e-6)

@pytest.mark.parametrize('ties', [False, True])
def test_wilcoxon_like_scipy(ties):
    from scipy import stats
    for n in (12, 60):
        d = np.round(rng.normal(.1, .3, n), 1 if ties else 9)
        o = stats.wilcoxon(d, zero_method='pratt', method='asymptotic', correction=False)
        mine = S.signed_ranks(d)
        assert mine['p'] == pytest.approx(o.pvalue, rel=1e-9)
        r = stats.rankdata(abs(d))
        plus,minus = r[d > 0].sum(),r[d < 0].sum()
        assert mine['rank_biserial'] == pytest.approx((plus - minus)/(plus + minus)) and min(plus, minus) == o.statistic

def test_sizes_of_effects_like_scipy_and_rliable():
    "rliable's interquartile mean is scipy's trimmed mean over all runs and tasks, its probability of improvement a mean of Mann-Whitney's U over tasks"
    from scipy import stats
    a,b = np.round(rng.normal(.4, .1, (5, 40)), 2),np.round(rng.normal(.38, .1, (5, 40)), 2)
    assert S.iqm(a)[0] == pytest.approx(stats.trim_mean(a, .25, axis=None))
    assert S.improvement(a, b)[0] == pytest.approx(np.mean([stats.mannwhitneyu(a[:,i], b[:,i]).statistic/25 for i in range(40)]))
    assert S.cliff(a, b) == pytest.approx(2*stats.mannwhitneyu(a.ravel(), b.ravel()).statistic/a.size/b.size - 1)

def test_permutation_and_bootstrap_like_scipy():
    from scipy import stats
    s = rng.normal(.3, 1, 25) # sums of groups
    theirs = stats.permutation_test((s,), np.mean, permutation_type='samples', n_resamples=20000, rng=np.random.default_rng(0)).pvalue
    assert sign_flips(s, 20000) == pytest.approx(theirs, abs=.012)
    x = rng.normal(0, 1, (1, 40)) # one seed, groups of one question: the plain bootstrap
    mine = S.percentiles(S.resampled_mean(x, *S.draws(np.random.default_rng(1), 1, np.arange(40), 20000)))
    o = stats.bootstrap((x[0],), np.mean, method='percentile', n_resamples=20000, rng=np.random.default_rng(2)).confidence_interval
    assert mine == pytest.approx([o.low, o.high], abs=.02)

def test_holm_and_equivalence_like_statsmodels():
    multitest,weightstats = pytest.importorskip('statsmodels.stats.multitest'),pytest.importorskip('statsmodels.stats.weightstats')
    ps = rng.random(9)**3
    assert holm(ps.tolist()) == pytest.approx(multitest.multipletests(ps, method='holm')[1])
    d = rng.normal(.1, .5, 30)
    for margin in (.15, .3, .6):
        e = dict(mean=float(d.mean()), errors=[0., float(d.std(ddof=1)/30**.5)], df=[2, 29]) # no luck of seeds: two one-sided t tests
        assert S.equivalence(e, margin) == pytest.approx(weightstats.DescrStatsW(d).ttost_mean(-margin, margin)[0], rel=2e-3)

def alarm(i, **kw): # Is any of three settings, all the same as the first, called better or worse?
    x,g = S.simulated_scores(np.random.default_rng([i, 11]), [0]*4, **kw)
    return min(holm([S.seeded_difference(x[k], x[0], g, n=400, more=False)['p'] for k in (1, 2, 3)])) <= .05

@pytest.mark.parametrize('kw', [dict(luck=.01), dict(luck=.04), dict(luck=.001, groups=20)])
def test_nothing_is_found_where_nothing_is(kw):
    "1,000 comparisons of four identical settings with three seeds"
    assert np.mean([alarm(i, **kw) for i in range(1000)]) <= .055

def test_that_check_can_fail():
    "Averaging seeds and testing questions only, as is usual, finds something that is not there"
    def usual(i):
        x,g = S.simulated_scores(np.random.default_rng([i, 11]), [0]*4)
        return min(holm([paired_difference(x[k].mean(0), x[0].mean(0), g, 400)['p'] for k in (1, 2, 3)])) <= .05
    assert np.mean([usual(i) for i in range(150)]) > .1

@pytest.mark.parametrize('kw', [dict(luck=.01), dict(luck=.01, seeds=5)])
def test_a_difference_that_the_planner_names_is_told(kw):
    "Truth drawn anew, pilot of the same size, then a comparison with the difference that the pilot named"
    def one(i):
        rng = np.random.default_rng([i, 12])
        x,g = S.simulated_scores(rng, [0, 0], **kw)
        e = S.two_errors(x[1] - x[0], g)
        delta = S.detectable(e['errors'], e['df'], known=e['df'])
        y,h = S.simulated_scores(rng, [0, delta], **kw)
        return S.seeded_difference(y[1], y[0], h, n=400, more=False)['p'] <= .05
    assert np.mean([one(i) for i in range(160)]) >= .72 # of 160 at 80%, fewer than 72% have a chance below 1 in 100

def test_identical_scores_say_nothing():
    g = np.repeat(np.arange(10), 3)
    for d in (np.zeros((3, 30)), np.full((3, 30), .5)):
        o = S.seeded_difference(d, d, g, margin=.02)
        assert o['p'] is None and o['p_equivalence'] is None and o['ci95'] == [None, None] and 'all scores are the same' in o['why']

BAD = {
    'a grid of zero cells': (dict(grid={}), 'no settings'), 'a value that cannot be': (dict(grid=dict(rank=[0, 8])), 'lora.rank = 0'), 'a setting that does not exist': (dict(grid=dict(rnak=[4, 8])), 'did you mean rank?'),
    'a list that is none': (dict(grid=dict(rank=8)), 'not a list of values'), 'layers that do not exist': (dict(grid=dict(target_modules=['q_proj', 'k_porj'])), 'did you mean k_proj?'),
    'a twin': (dict(settings=[dict(rank=8), dict(rank=8)]), 'stands there twice'), 'a twin of the defaults': (dict(defaults=dict(rank=8), settings=[{}, dict(rank=8)]), 'stands there twice'),
    'one seed twice': (dict(seeds=[1, 1]), 'different whole numbers'), 'no seeds': (dict(seeds=[]), 'different whole numbers'), 'a seed that is none': (dict(seeds=['x']), 'comparison.seeds'),
    'a metric without scores of questions': (dict(metric='loss'), 'not for each question'), 'a metric without a better side': (dict(metric='length'), 'no better side'), 'an unknown metric': (dict(metric='rogue'), 'is not scored'),
    'what does not fit': (dict(grid=dict(modules_to_save=[[], ['embed_tokens', 'lm_head']])), '1 of 2 settings cannot run here')}

@pytest.mark.parametrize('name', BAD)
def test_refused_before_anything_runs(name):
    kw,words = BAD[name]
    cfg = Config().update(dict(gpu=dict(profile='t4'), comparison=kw))
    with pytest.raises(MedqaError, match=words.replace('?', r'\?')): plan_grid(cfg)

def test_the_quote_and_the_budget():
    cfg = Config().update(dict(gpu=dict(profile='t4'), comparison=dict(grid=dict(rank=[8, 16]), seeds=[0, 1, 2])))
    p = plan_grid(cfg)
    assert p['runs'] == 6 and p['hours'] > 0 and p['sessions'] >= 1 and p['units'] > 0
    cfg.budget.units = p['units'] + 1; assert 'h on t4' in quote_grid(cfg, p)
    cfg.budget.units = p['units']/2
    with pytest.raises(MedqaError, match='budget.units'): quote_grid(cfg, p)

def small(folder, **kw):
    "A run with 48 rows and the embedded model"
    from medqa_nb.core.config import load_config
    from medqa_nb.core.files import assets
    cfg = Config().update(load_config(assets('cpu_config.yaml'))).update(dict(gpu=dict(profile='cpu'), model=dict(base=str(assets('tiny'))), training=dict(effective_batch=2, max_length=96), evaluation=dict(max_new_tokens=6, resamples=200),
        comparison={**dict(grid=dict(rank=[2, 4]), seeds=[0, 1], max_steps=4, questions=8), **kw}))
    run = Run(folder/'r', folder/'r', cfg)
    run.local.mkdir(parents=True); run.save_config()
    rows = pd.DataFrame([dict(key=f'r{i}', source='s', question=f'What is condition {i}?', answer=f'Condition {i} is an illness of the number {i}.', group=f'g{i//2}', qtype='information') for i in range(72)])
    write_table(run.path('data', 'train.parquet'), rows[:32]); write_table(run.path('data', 'validation.parquet'), rows[32:])
    write_json(run.path('data', 'report.json'), {}); write_json(run.path('data', 'vocabulary.json'), {})
    return run

def made_up(cfg, effects=(0, .08), groups=20):
    "A ledger and its scores"
    names = [json.dumps(s) for s in settings_of(cfg.comparison)]
    x,g = S.simulated_scores(np.random.default_rng(4), effects, len(cfg.comparison.seeds), groups, luck=.003)
    lines = [dict(o, state='done', data='a', questions='b', host_gib=1., seconds=9.) for o in planned(cfg)]
    scores = pd.concat([pd.DataFrame(dict(id=o['id'], key=[f'q{i}' for i in range(len(g))], group=[f'd{i}' for i in g], metric='rougeL',
        value=x[names.index(json.dumps(o['config'])), cfg.comparison.seeds.index(o['seed'])])) for o in lines])
    return lines, scores

LEDGERS = {'runs are missing':(lambda l, s: ([dict(o, state='to do') if i else o for i,o in enumerate(l)], s), 'no seed with which all 2 settings are done: 9 runs are missing'),
    'other rows':(lambda l, s: ([dict(l[0], data='z'), *l[1:]], s), 'learnt from other rows'), 'other questions':(lambda l, s: ([*l[:-1], dict(l[-1], questions='z')], s), 'answered other questions'),
    'no such scores':(lambda l, s: (l, s.assign(metric='chrf')), 'rougeL has no score for each question here: choose from chrf'), 'scores lost':(lambda l, s: (l, s[s.id != l[0]['id']]), 'has nothing of rank-2'),
    'nothing known':(lambda l, s: (l, s.assign(value=np.nan)), 'no question has a score'), 'an empty ledger':(lambda l, s: ([], s), 'no seed with which all')}

@pytest.mark.parametrize('name', LEDGERS)
def test_ledgers_that_cannot_be_compared(name):
    cfg = Config().update(dict(comparison=dict(grid=dict(rank=[2, 4]), seeds=[0, 1, 2, 3, 4])))
    change,words = LEDGERS[name]
    with pytest.raises(MedqaError, match=words): analyse(*change(*made_up(cfg)), cfg.comparison, 200)

def test_ledgers_that_say_less():
    "An unbalanced one is cut to whole seeds; a constant metric, one seed, one group give no p value; questions without a score are left out of all"
    cfg = Config().update(dict(comparison=dict(grid=dict(rank=[2, 4]), seeds=[0, 1, 2, 3, 4])))
    lines,scores = made_up(cfg)
    of = lambda l, s, c=cfg.comparison: analyse(l, s, c, 200)
    whole = of(lines, scores)
    assert whole['differences']['rank=4']['verdict'] == 'better' and not whole['notes'] and '**better**' in sentence('rank=4', whole['differences']['rank=4'], whole)
    cut = of(lines[:-1], scores)
    assert cut['seeds'] == [0, 1, 2, 3] and 'Seed 4 is left out' in cut['notes'][0] and 'before the end' in cut['notes'][1]
    for r,why in ((of(lines, scores.assign(value=.5)), 'all scores are the same'), (of(lines, scores.assign(group='d0')), 'one group'), (of(lines, scores, Config().update(dict(comparison=dict(cfg.comparison.to_dict(), seeds=[3]))).comparison), 'one seed')):
        d = r['differences']['rank=4']
        assert d['verdict'] == 'cannot tell' and why in d['why'] and d['p'] is None and d['ci95'] == [None, None] and d['p_equivalence'] is None and d['detectable'] is None
        assert 'Cannot tell' in sentence('rank=4', d, r)
    nan = scores.copy(); nan.iloc[0, nan.columns.get_loc('value')] = np.nan
    r = of(lines, nan)
    assert r['n'] == whole['n'] - 1 and '1 questions have no ROUGE-L' in r['notes'][0]
    assert of(lines, scores, Config().update(dict(comparison=dict(cfg.comparison.to_dict(), margin=.5))).comparison)['differences']['rank=4']['verdict'] == 'equivalent'

def test_a_design_that_grows_is_told(tmp_path):
    "More seeds, or another metric, after a report: the next one says that luck had a second chance; the same once more says nothing"
    from medqa_nb.comparison import analyse_run
    run = small(tmp_path, seeds=[0, 1, 2, 3, 4])
    lines,scores = made_up(run.config)
    write_table(run.path('comparison', 'scores.parquet'), scores); run.path('comparison', 'ledger.jsonl').write_text(''.join(json.dumps(o) + '\n' for o in lines))
    run.config.comparison.seeds = [0, 1, 2]
    assert not any('Look' in o for r in (analyse_run(run), analyse_run(run)) for o in r['notes'])
    run.config.comparison.seeds = [0, 1, 2, 3, 4]
    r = analyse_run(run)
    assert 'Look 2: since an earlier report the seeds changed' in r['notes'][-1] and r['notes'][-1] in run.path('comparison', 'report.md').read_text()

def test_less_is_better():
    "A metric of errors: more of it is worse"
    cfg = Config().update(dict(comparison=dict(grid=dict(rank=[2, 4]), seeds=[0, 1, 2, 3, 4], metric='contradicted')))
    lines,scores = made_up(cfg)
    r = analyse(lines, scores.assign(metric='contradicted'), cfg.comparison, 200)
    assert r['differences']['rank=4']['verdict'] == 'worse' and [d['verdict'] for d in r['pairs']] == ['better']

COMPARE = 'import sys; from medqa_nb.core.runs import Run; from medqa_nb.comparison import compare; compare(Run.open(sys.argv[1]), say=lambda s: print(s, flush=True))'

def begin(run): # Returns a process that compares
    log = open(run.local.parent/'log.txt', 'a')
    return subprocess.Popen([sys.executable, '-c', COMPARE, str(run.local)], stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

def until(ok, seconds=240):
    end = time.time() + seconds
    while not ok():
        assert time.time() < end, 'it took too long'
        time.sleep(.05)

def test_killed_and_resumed(tmp_path):
    "Killed with SIGKILL when a run is done and the next is under way: the orphan ends, the finished run is not made again, order and ledger are right, and the analysis needs no model"
    run = small(tmp_path, seeds=[0, 1])
    p = begin(run)
    files = lambda: {f.parent.name:f.stat().st_mtime_ns for f in run.path('comparison', 'runs').glob('*/run.json')}
    until(lambda: files() and len(list(run.path('comparison', 'runs').glob('*/log.txt'))) > len(files()))
    worker = [int(f.read_text().rstrip().split('process ')[-1].split()[0]) for f in run.path('comparison', 'runs').glob('*/log.txt') if f.parent.name not in files() and 'process ' in f.read_text()]
    os.kill(p.pid, signal.SIGKILL); p.wait()
    before = files()
    for pid in worker: until(lambda: not Path(f'/proc/{pid}').exists() or 'Z' in Path(f'/proc/{pid}/stat').read_text().split()[2], 60)
    assert begin(run).wait(timeout=400) == 0, (tmp_path/'log.txt').read_text()
    after = files()
    assert len(after) == 4 and all(after[k] == v for k,v in before.items())
    lines = read_ledger(run.path('comparison', 'ledger.jsonl'))
    assert [(o['config']['rank'], o['seed'], o['state']) for o in lines] == [(2, 0, 'done'), (4, 0, 'done'), (2, 1, 'done'), (4, 1, 'done')]
    first = {o['seed']:{x['first_loss'] for x in lines if x['seed'] == o['seed']} for o in lines}
    assert all(len(v) == 1 for v in first.values()) and first[0] != first[1], 'one seed, one order of rows, whatever the setting'
    assert all(o['host_gib'] > .1 and o['seconds'] > 0 and o['peak_gib'] is None for o in lines)
    r = read_json(run.path('comparison', 'report.json'))
    assert r['seeds'] == [0, 1] and r['n'] == 8 and set(r['differences']) == {'rank=4'}
    assert all((run.path('comparison', 'figures', f'{o}.png')).exists() for o in ('forest', 'pairs', 'curves'))
    assert read_json(run.path('comparison', 'progress.json'))['state'] == 'done'
    code = 'import sys; from medqa_nb.core.runs import Run; from medqa_nb.comparison import analyse_run; r = analyse_run(Run.open(sys.argv[1])); assert "torch" not in sys.modules; print(r["verdict"])'
    assert 'ank=4' in subprocess.run([sys.executable, '-c', code, str(run.local)], capture_output=True, text=True, check=True).stdout
    write_ledger(run, [dict(planned(run.config)[0], id='another')]) # a ledger that grows keeps what is done
    assert len(read_ledger(run.path('comparison', 'ledger.jsonl'))) == 5

def test_spread_by_ray(tmp_path):
    "The same ledger; runs in workers of Ray that end with them"
    ray = pytest.importorskip('ray')
    run = small(tmp_path, ray='local', seeds=[0])
    try: lines = do_all(run, planned(run.config), lambda o: cell_config(run.config, o['config'], o['seed']).to_dict(), say=lambda s: None)
    finally: ray.shutdown()
    assert [o['state'] for o in lines] == ['done', 'done'] and len({o['first_loss'] for o in lines}) == 1
    pids = [f.read_text().split('process ')[1].split()[0] for f in run.path('comparison', 'runs').glob('*/log.txt')]
    assert len(set(pids)) == 2 and str(os.getpid()) not in pids

def test_ray_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    run = small(tmp_path, ray='local', seeds=[0])
    with pytest.raises(MedqaError, match='pip install'): do_all(run, planned(run.config), None)

def test_halving_keeps_its_questions_apart(tmp_path, monkeypatch):
    "The rounds ask other questions with another seed; the worse half is dropped; nothing of a round is in the report"
    from medqa_nb import comparison
    run = small(tmp_path, grid=dict(rank=[2, 4, 8]), seeds=[0], halving=1, max_steps=2)
    r = comparison.compare(run, say=lambda s: None)
    lines = read_ledger(run.path('comparison', 'ledger.jsonl'))
    rounds,final = [o for o in lines if o['round']],[o for o in lines if not o['round']]
    assert len(rounds) == 3 and len(final) == 2 and {o['seed'] for o in rounds} == {1} and {o['steps'] for o in rounds} == {1}
    scores = read_table(run.path('comparison', 'scores.parquet'))
    of = lambda runs: set(scores[scores.id.isin([o['id'] for o in runs])].group)
    assert not of(rounds) & of(final)
    assert list(r['settings'])[0] == 'rank=2' and len(r['settings']) == 2 and 'halving dropped' in ' '.join(r['notes'])
    assert all(d['verdict'] == 'cannot tell' and 'one seed' in d['why'] and d['p'] is None for d in r['differences'].values())
    assert 'Cannot tell' in run.path('comparison', 'report.md').read_text()

def test_other_recipes_are_refused(tmp_path):
    "One table cannot hold runs of two recipes"
    from medqa_nb import comparison
    run = small(tmp_path)
    run.claim('comparison', {'training.learning_rate':.1})
    with pytest.raises(MedqaError, match='training.learning_rate'): comparison.compare(run, say=lambda s: None)

def test_sigterm_is_given_back(tmp_path, monkeypatch):
    "After a comparison the process ends at SIGTERM as before: what it forks later must, too"
    import signal
    import medqa_nb.core.grid as grid
    from medqa_nb.core.files import write_json
    from medqa_nb.core.runs import Run
    run = Run.open(str(tmp_path/'r'), new=dict(gpu=dict(profile='cpu')))
    class Done: # a pool whose runs are finished at once
        slots = 1
        def __init__(self, cfg): pass
        def start(self, local, store, o, settings):
            d = run.path('comparison', 'runs', o['id']); d.mkdir(parents=True)
            (d/'scores.parquet').touch(); write_json(d/'run.json', dict(o, state='done', seconds=1.))
        def alive(self, p): return False
    monkeypatch.setattr(grid, 'Here', Done)
    before = signal.getsignal(signal.SIGTERM)
    lines = grid.do_all(run, [grid.run_of(run.config, dict(rank=2), 0)], lambda o: {}, lambda s: None)
    assert [o['state'] for o in lines] == ['done'] and signal.getsignal(signal.SIGTERM) == before
