"Augmentation: the stand-in for the API with its faults, killed sessions, bad input, planted errors, the notebook on both paths."
import json, os, signal, socket, subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace
import pytest
from claude import claude
from medqa_nb.core.files import MedqaError, read_json, read_table
from medqa_nb.core.runs import Run

HERE = Path(__file__).resolve().parent
FAST = dict(method='claude', allowed=True, share=.2, poll=.05, settle=.3, chunk=20)

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A folder with the data of the sample"
    from medqa_nb.data import build_data
    run = Run.open(str(tmp_path_factory.mktemp('data')/'r'), flags=dict(data=dict(sources=['sample'], validation=.07, test=.2)))
    build_data(run)
    return run.path('data')

@pytest.fixture
def run(made, tmp_path, monkeypatch):
    "A run in two homes with that data, a key, and a budget"
    import shutil
    (tmp_path/'store').mkdir()
    r = Run(tmp_path/'local', tmp_path/'store', Run.open(str(tmp_path/'x')).config)
    r.config.update(dict(data=dict(sources=['sample']), augmentation=FAST, budget=dict(dollars=1)))
    r.save_config()
    shutil.copytree(made, r.path('data'))
    monkeypatch.setenv('ANTHROPIC_API_KEY', 'sk-test')
    return r

def augment(run, s, **kw):
    from medqa_nb.augmentation import augment
    os.environ['ANTHROPIC_BASE_URL'] = s.url
    try: return augment(run, say=kw.pop('say', lambda l: None), **kw)
    finally: del os.environ['ANTHROPIC_BASE_URL']

def test_all_that_can_come_back(run):
    "Every kind of result has its path; the report and the books add up; rows have model, prompt, parent and group"
    with claude(seed=3, faults=dict(expired=.1, errored=.1, invalid=.05, refusal=.05, truncated=.1, malformed=.1, broken_line=.02)) as s:
        r = augment(run, s)
        assert r['succeeded'] + sum(r['failed'].values()) == r['planned'] and r['accepted'] + sum(r['rejected'].values()) == r['succeeded']
        assert r['submitted'] == sum(s.accepted.values()) > r['planned'] and max(s.accepted.values()) == 1 and max(s.paid.values()) == 1
        assert {'invalid_request_error', 'refused'} & set(r['failed'])
        assert s.dollars - 1e-6 <= r['dollars']['spent'] <= 1 and r['coverage']['after'] >= r['coverage']['before'] and set(r['scores']) == {'completeness', 'medical_accuracy', 'safety', 'coherence'}
    rows,train = read_table(run.path('augmentation', 'rows.parquet')),read_table(run.path('data', 'train.parquet')).set_index('key')
    assert len(rows) == r['accepted'] > 20 and set(rows.origin) == {'claude:claude-haiku-5-5/structure-1', 'claude:claude-haiku-5-5/question-1'}
    assert (rows.group.to_numpy() == train.group[rows.parent].to_numpy()).all() and set(rows.split) == {'train'}
    p = read_json(run.path('augmentation', 'progress.json'))
    assert p['state'] == 'done' and p['done'] == p['total'] == r['planned'] and p['unit'] == 'rows'
    n = len(s.log)
    assert augment(run, s) == r and len(s.log) == n, 'done work asks nobody'

def test_another_machine_goes_on(run):
    "The laptop closes after the batches were sent; the next day another machine, with what is in the store, reads them and pays nothing"
    with claude(delay=1.5) as s:
        assert augment(run, s, wait=False) is None and len(s.batches) == 3 and not run.done('augmentation')
        assert read_json(run.path('augmentation', 'progress.json'))['state'] == 'waiting'
        import shutil
        for f in run.path('augmentation').glob('*'): shutil.rmtree(f) if f.is_dir() else f.unlink()
        r = augment(run, s)
        assert r['succeeded'] == r['planned'] and len(s.batches) == 3 and max(s.paid.values()) == 1 and s.probes == 1

def test_unknown_batch_blocks(run):
    "Accepted, and the connection cut: nobody knows its id. Without its newest snapshot the next session waits for it, adopts it, and sends only the rest"
    said = []
    with claude(delay=2., faults=dict(cut_after=1.)) as s:
        assert augment(run, s, wait=False, say=said.append) is None
        assert len(s.batches) == 1 and any('whether it was accepted will show' in l for l in said)
        for f in run.path('augmentation').glob('ledger.sqlite*'): f.unlink()
        max(run.store.glob('augmentation/ledger-*.sqlite')).unlink()
        s.faults = {}
        said.clear()
        assert augment(run, s, wait=False, say=said.append) is None and len(s.batches) == 1 and any('is not in the ledger and has not ended' in l for l in said)
        r = augment(run, s)
        assert r['succeeded'] == r['planned'] and max(s.accepted.values()) == 1 and sum(s.accepted.values()) == r['planned']

def test_disowned(run):
    "A colleague's endless batch stops us until it is disowned"
    with claude() as s:
        import anthropic, claude as stand_in
        c = anthropic.Anthropic(api_key='sk-test', base_url=s.url)
        assert augment(run, s, wait=False) is None # the plan; its first batches
        c.messages.batches.create(requests=[dict(custom_id='theirs', params=dict(model='claude-haiku-5-5', max_tokens=5, messages=[dict(role='user', content='x')]))])
        s.batches[-1]['delay'] = 1e6
        from medqa_nb.core.ledger import open_ledger
        l = open_ledger(run.path('augmentation', 'ledger.sqlite'), run.store/'augmentation')
        with l.writing() as db: db.execute("update row set state='planned', reason=null where rowid=1"); db.execute("delete from attempt where row=(select id from row where rowid=1)")
        l.snapshot(run.store/'augmentation'); l.close()
        n = len(s.batches)
        assert augment(run, s, wait=False) is None; time.sleep(.4); assert augment(run, s, wait=False) is None
        assert len(s.batches) == n
        run.config.augmentation.disown = [s.batches[-1]['id']]
        assert augment(run, s)['succeeded'] and len(s.batches) == n + 1

def test_probe_lost_with_two_snapshots(run, monkeypatch):
    "A probe is in no list of the API: who loses the machine and two snapshots pays a second one, and the budget has room for it"
    from medqa_nb.core.ledger import Ledger, open_ledger
    class Killed(BaseException): pass
    def die(*args, **kw): raise Killed
    run.config.augmentation.chunk = 1000
    with claude() as s:
        with monkeypatch.context() as m, pytest.raises(Killed): m.setattr(Ledger, 'made', die); augment(run, s)
        assert s.probes == 1 and not s.batches
        for f in run.path('augmentation').glob('ledger.sqlite*'): f.unlink()
        for f in sorted(run.store.glob('augmentation/ledger-*.sqlite'))[1:]: f.unlink()
        r = augment(run, s)
        assert s.probes == 2 and r['succeeded'] == r['planned'] and max(s.paid.values()) == 1
        l = open_ledger(run.path('augmentation', 'ledger.sqlite'), run.store/'augmentation')
        assert l.money()[0] == pytest.approx(s.dollars - s.probe_dollars/2, abs=1e-9) and s.dollars <= run.config.budget.dollars
        l.close()

def test_killed_sessions(seed=1):
    "Some runs of the soak: killed processes, faults, lost snapshots"
    p = subprocess.run([sys.executable, HERE.parent/'bench/soak_ledger.py', '2', '300', str(seed)], capture_output=True, text=True, timeout=300)
    o = json.loads(p.stdout[p.stdout.rindex('\n{') if '\n{' in p.stdout else 0:])
    assert o['kills'] >= 2 and o['unfinished'] == o['paid_twice'] == o['done_twice'] == o['over_budget'] == 0, p.stdout + p.stderr
    assert o['done'] + o['failed'] == 600

@pytest.mark.parametrize('settings,server,says', [
    (dict(augmentation=dict(allowed=False)), {}, 'read the terms'),
    (dict(budget=dict(dollars=0)), {}, 'budget.dollars is 0'),
    (dict(budget=dict(dollars=.0005)), {}, 'the quote is'),
    (dict(augmentation=dict(model='claude-nothing', price_in=1, price_out=2)), {}, 'does not exist'),
    (dict(augmentation=dict(model='claude-nothing')), {}, 'no price'),
    (dict(augmentation=dict(model='claude-old', price_in=1, price_out=2)), {}, 'is retired'),
    (dict(augmentation=dict(model='claude-single', price_in=1, price_out=2)), {}, 'does not do batches'),
    (dict(augmentation=dict(prompts=['poem'])), {}, "'poem' is unknown"),
    ({}, dict(key='another'), 'check ANTHROPIC_API_KEY'),
    ({}, dict(credit=False), 'the account has no credit')])
def test_bad_input(run, settings, server, says):
    "One line; nothing paid, and nothing sent"
    run.config.update(settings)
    with claude(**server) as s:
        with pytest.raises(MedqaError) as e: augment(run, s)
        assert says in str(e.value) and '\n' not in str(e.value)
        assert not s.batches and not s.dollars and not run.path('augmentation', 'rows.parquet').exists()

def test_no_key(run, monkeypatch):
    monkeypatch.delenv('ANTHROPIC_API_KEY')
    with claude() as s, pytest.raises(MedqaError, match='ANTHROPIC_API_KEY is missing'): augment(run, s)

def test_ledger_of_other_things(run):
    "Other rows, other prompts, a damaged file, a full store: one line, and no batch more"
    with claude(delay=60.) as s:
        assert augment(run, s, wait=False) is None
        n,spent = len(s.batches),s.dollars
        def stopped(says):
            with pytest.raises(MedqaError, match=says) as e: augment(run, s, wait=False)
            assert '\n' not in str(e.value) and (len(s.batches), s.dollars) == (n, spent)
        run.config.augmentation.prompts = ['question']
        stopped(r"prompts \(was \['structure-1', 'question-1'\], now \['question-1'\]\)")
        run.config.augmentation.prompts = ['structure', 'question']
        run.config.augmentation.share = .3
        stopped('requests')
        run.config.augmentation.share = .2
        path = run.path('augmentation', 'ledger.sqlite')
        for f in path.parent.glob('ledger.sqlite*'): f.unlink()
        path.write_bytes(b'SQLite format 3\0' + bytes(5000))
        stopped('is damaged')
        for f in path.parent.glob('ledger.sqlite*'): f.unlink()
        assert augment(run, s, wait=False) is None and len(s.batches) == n, 'a sound snapshot took its place'

def canceled_by_hand(s, i):
    import anthropic
    return anthropic.Anthropic(api_key='sk-test', base_url=s.url).messages.batches.cancel(s.batches[i]['id'])

def test_canceled_on_the_server(run):
    "Somebody cancels a batch in the console: while it is canceling we wait; what was done is taken, the rest has failed as canceled and is not sent again"
    with claude(delay=60.) as s:
        assert augment(run, s, wait=False) is None
        n = len(s.batches)
        assert canceled_by_hand(s, 0).processing_status == 'canceling'
        assert augment(run, s, wait=False) is None and len(s.batches) == n
        for b in s.batches[1:]: b['delay'] = 0
        r = augment(run, s)
        gone = [i for i,o in s.batches[0]['results'] if o['type'] == 'canceled']
        assert 0 < len(gone) < len(s.batches[0]['requests']) and r['failed'] == {'canceled':len(gone)}
        assert r['succeeded'] + len(gone) == r['planned'] and len(s.batches) == n and max(s.paid.values()) == 1 and not set(gone) & set(s.paid)
        assert abs(r['dollars']['spent'] - s.dollars) < 1e-6

@pytest.mark.parametrize('where,size', [('local', '24k'), ('store', '200k')])
def test_full_disk(run, where, size, tmp_path):
    "On a disk that is really full: one line; with space it goes on, and pays nothing twice"
    import shutil
    if os.geteuid() or not shutil.which('unshare'): pytest.skip('needs root and unshare for a small disk')
    script = f"""
import json, os, sys
from pathlib import Path
from medqa_nb.augmentation import augment
from medqa_nb.core.files import MedqaError
from medqa_nb.core.runs import Run
t = Path({str(tmp_path)!r})
run = Run(t/'local', t/'store', Run.open(str(t/'x')).config)
run.config.update(dict(data=dict(sources=['sample']), augmentation={FAST!r}, budget=dict(dollars=1)))
disk = t/{where!r}/'augmentation'
disk.mkdir(exist_ok=True)
if os.system(f'mount -t tmpfs -o size={size} none {{disk}}'): sys.exit(77)
for i in range(2):
    try: print(json.dumps(augment(run, say=lambda l: None)), flush=True); break
    except MedqaError as e: print('STOPPED', e, flush=True)
    os.system(f'mount -o remount,size=100m {{disk}}')
"""
    with claude() as s:
        p = subprocess.run(['unshare', '-m', sys.executable, '-c', script], env={**os.environ, 'ANTHROPIC_BASE_URL':s.url}, capture_output=True, text=True, timeout=120)
        if p.returncode == 77: pytest.skip('this machine allows no mounts')
        first,*rest = p.stdout.splitlines()
        assert p.returncode == 0 and first.startswith('STOPPED') and 'could not be written (' in first and 'free some space' in first and len(rest) == 1, p.stdout + p.stderr
        r = json.loads(rest[0])
        assert r['succeeded'] == r['planned'] and max(s.paid.values()) == max(s.accepted.values()) == 1 and s.dollars - 1e-6 <= r['dollars']['spent']

def tiny_nli(folder, says): # Folder to make; a label
    "A real NLI model with random weights, whose last layer always says the same"
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
    names = ['entailment', 'neutral', 'contradiction']
    torch.manual_seed(0)
    m = BertForSequenceClassification(BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, id2label=dict(enumerate(names))))
    with torch.no_grad(): m.classifier.bias[names.index(says)] = 20.
    m.save_pretrained(folder)
    t = Tokenizer(models.WordLevel({'[PAD]':0, '[UNK]':1}, unk_token='[UNK]')); t.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=t, unk_token='[UNK]', pad_token='[PAD]').save_pretrained(folder)
    return str(folder)

def test_nli_model_decides(run, tmp_path):
    "What a model calls a contradiction is rejected, whatever the words say; what it does not is left to the other gates"
    from medqa_nb.core.entailment import NLI
    from medqa_nb.core.validation import check
    text = 'Colchicine is given at the first sign of an attack.'
    for says,gates in (('entailment', []), ('neutral', []), ('contradiction', ['contradiction'])):
        o = check(text, text, 'gout | How is it treated?', judge=NLI(tiny_nli(tmp_path/says, says)))
        assert [g for g,_ in o['reasons']][:1] == gates, o
    run.config.augmentation.nli = str(tmp_path/'contradiction')
    with claude() as s: r = augment(run, s)
    made = read_table(run.path('augmentation', 'validation.parquet'))
    answers = made[made.origin.str.contains('structure')]
    assert len(answers) and (answers.gate != '').all() and r['rejected']['contradiction'] > len(answers)/2

def test_clock_jumps(run, monkeypatch):
    "A clock that is years off, in both directions, changes nothing"
    with claude(delay=.5, faults=dict(cut_after=.5)) as s:
        real = time.time
        monkeypatch.setattr('medqa_nb.core.session.time.time', lambda: real() + 1e8)
        assert augment(run, s, wait=False) is None
        monkeypatch.setattr('medqa_nb.core.session.time.time', lambda: real() - 1e8)
        s.rng.seed(1)
        r = augment(run, s)
        monkeypatch.undo()
        assert r['succeeded'] == r['planned'] and max(s.accepted.values()) == 1

def test_templates_are_sound(made):
    "Every template row of the sample passes the gates that apply to it; the same seed makes the same rows"
    import pandas as pd
    from medqa_nb.core.templates import kind_of, template_kinds
    from medqa_nb.core.validation import check, incoherent
    train,none = read_table(made/'train.parquet'),pd.Series([], dtype=str)
    new,_ = template_kinds(train, none, len(train), seed=5)
    assert new.equals(template_kinds(train, none, len(train), seed=5)[0]) and not new.equals(template_kinds(train, none, len(train), seed=6)[0])
    assert new.key.is_unique and set(new.parent) <= set(train.key) and set(new.origin) == {'template'}
    by = train.set_index('key')
    for r in new.itertuples(): assert r.group == by.group[r.parent]
    for r in new[new.key.map(kind_of) == 'several questions'].itertuples():
        first,second = r.answer.split('\n\n', 1) if r.answer.count('\n\n') == 1 else (r.answer, r.answer)
        assert by.answer[r.parent] in r.answer and r.question.count('?') == 1
    said = set(train.answer)
    for r in new[new.key.map(kind_of) == 'not in the source'].itertuples(): assert 'not have enough information' in r.answer and not any(c.isdigit() for c in r.answer.replace(r.focus, ''))

def bounds(part): # Part; returns (share of the bad caught at least, share of the good lost at most)
    if part in ('01', '02', '03'): return .98, .03
    if part in ('12', '13', '14', '15', '16'): return .85, .08
    return (.9, .05) if part == 'final_1' else (.9, .08) if part.startswith('final') else (.9, .06)

@pytest.mark.parametrize('which,least,most', [('DEVELOPED', .93, .03), ('FINAL', .9, .05)])
def test_planted_errors(which, least, most):
    "The parts that the rules were developed with, and the final ones, which nobody who changes them has looked into (bench/augmentation.py prints all)"
    import planted_augmentation
    found = []
    for part in getattr(planted_augmentation, which):
        rates,_ = planted_augmentation.measured(part)
        lost,of = rates.pop('good')
        caught,planted = map(sum, zip(*rates.values()))
        low,high = bounds(part)
        assert planted == of == 150 and caught >= low*of and lost <= high*of, (part, caught, lost, rates)
        found.append((caught, lost, of))
    caught,lost,of = map(sum, zip(*found))
    assert len(found) > 4 and caught >= least*of and lost <= most*of, (caught, lost, of)

def test_nothing_leaves_loopback(tmp_path):
    "A process in which any other address than the loopback's is an error: the guard stops the API's own address, and augmentation against the stand-in needs none"
    env = {**os.environ, 'PYTHONPATH':os.pathsep.join(map(str, (HERE/'loopback', HERE, HERE.parent))), 'ANTHROPIC_API_KEY':'sk-test', 'HERE':str(tmp_path)}
    ask = 'import anthropic; anthropic.Anthropic({}max_retries=0, timeout=5).models.retrieve("claude-haiku-5-5")'
    env.pop('ANTHROPIC_BASE_URL', None)
    p = subprocess.run([sys.executable, '-c', ask.format('')], env=env, capture_output=True, text=True)
    assert p.returncode and 'left the loopback' in p.stderr, p.stderr[-500:]
    with claude() as s: subprocess.run([sys.executable, '-c', ask.format(f'base_url="{s.url}", ')], env=env, check=True)

def test_tests_stay_on_loopback():
    "The guard is on in this very process (tests/conftest.py)"
    with pytest.raises(OSError, match='left the loopback'): socket.create_connection(('192.0.2.1', 443), 1)
    with pytest.raises(OSError, match='left the loopback'): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('8.8.8.8', 53))

def test_notebook_against_the_stand_in(tmp_path):
    "02_augmentation top to bottom on the batch path"
    cfg = tmp_path/'c.yaml'
    cfg.write_text('gpu: {profile: cpu}\ndata: {sources: [sample], validation: 0.07, test: 0.2}\nbudget: {dollars: 1}\n'
                   'augmentation: {method: claude, allowed: true, share: 0.2, poll: 0.05, settle: 0.3, chunk: 30}\n')
    with claude(faults=dict(refusal=.05, malformed=.05)) as s:
        env = {**{k:v for k,v in os.environ.items() if k not in ('IN_TEST', 'COLAB_RELEASE_TAG')}, 'MEDQA_CONFIG':str(cfg), 'MEDQA_ROOT':str(tmp_path/'root'), 'ANTHROPIC_API_KEY':'sk-test', 'ANTHROPIC_BASE_URL':s.url}
        p = subprocess.run([sys.executable, HERE/'run_notebooks.py', '02_augmentation'], env=env, capture_output=True, text=True, timeout=300)
        assert p.returncode == 0, p.stdout + p.stderr
        r = json.loads((tmp_path/'root/first/augmentation/report.json').read_text())
        assert r['dollars']['spent'] > 0 and r['accepted'] and max(s.paid.values()) == 1
