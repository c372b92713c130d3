"Whoever brings AskDocs in any of its forms gets clean rows, an account of the rest, and nothing personal."
import json, random
from pathlib import Path
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from medqa_nb.cli import main
from medqa_nb.core.askdocs import askdocs_batches, read_askdocs
from medqa_nb.core.files import MedqaError, read_json, read_table

quick = settings(max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
TAIL = ' This is common after a long winter, and most people feel better within two or three weeks if they rest, drink enough and wait.'
ABOUT = ['cough', 'itchy eyes', 'a sore knee', 'dry skin', 'back pain', 'a stiff neck after sleep', 'hiccups', 'cold feet', 'a hoarse voice', 'gas']

def question(i): return f'{ABOUT[i%10].capitalize()} for {i+2} weeks, what can I do?', f'34F, otherwise well. It began with number {i} of my runs.'

def answer(i): return f'For {ABOUT[i%10]} like yours I would try plan {i} first.' + TAIL.replace('two or three', f'{i+2} or {i+3}')

def askd(n=30):
    return [dict(q_id=f'q{i}', title=question(i)[0], selftext=question(i)[1], document='', subreddit='AskDocs',
                 answers=dict(a_id=[f'a{i}', f'b{i}'], text=['Thanks!', answer(i)], score=[90, 3])) for i in range(n)]

def medredqa(n=30):
    return [dict(title=question(i)[0], body=question(i)[1], response=answer(i), response_score=i+1, occupation='Physician') for i in range(n)]

def dump(n=30):
    posts = [dict(id=f'p{i}', author=f'user{i//2}', title=question(i)[0], selftext=question(i)[1], subreddit='AskDocs') for i in range(n)]
    comments = [dict(id=f'c{i}', link_id=f't3_p{i}', parent_id=f't3_p{i}', author=f'doc{i}', body=answer(i), score=2, subreddit='AskDocs',
                     author_flair_text='Physician | Moderator' if i%3 == 0 else None) for i in range(n)]
    return posts, comments

def lines(path, objs):
    path.write_text(''.join(json.dumps(o)+'\n' for o in objs)); return path

def medqa(root, monkeypatch, *args):
    monkeypatch.setenv('MEDQA_ROOT', str(root))
    return main([str(a) for a in args])

@pytest.fixture(params=['askd', 'medredqa.csv', 'medredqa.json', 'dump', 'dump.zst'])
def source(request, tmp_path):
    "A file or folder of each form with thirty threads"
    kind = request.param
    if kind == 'askd': (p := tmp_path/'askd.json').write_text(json.dumps(askd())); return p
    if kind == 'medredqa.json': (p := tmp_path/'m.json').write_text(json.dumps(medredqa())); return p
    if kind == 'medredqa.csv':
        import pandas as pd
        pd.DataFrame(medredqa()).to_csv(tmp_path/'m.csv', index=False); return tmp_path/'m.csv'
    (d := tmp_path/'dump').mkdir()
    files = [lines(d/'posts.jsonl', dump()[0]), lines(d/'comments.jsonl', dump()[1])]
    if kind == 'dump.zst':
        import zstandard
        for f in files: (d/f'{f.name}.zst').write_bytes(zstandard.compress(f.read_bytes())); f.unlink()
    return d

def test_every_form_becomes_the_same_rows(source, tmp_path, monkeypatch):
    assert medqa(tmp_path/'root', monkeypatch, 'data', '--run', 'x', '--source', f'askdocs:{source}', '--set', 'data.test=0.3', '--set',
                 'data.validation=0.2') == 0
    data = tmp_path/'root/x/data'
    report,rows = read_json(data/'report.json'),[r for k in ('train','validation','test') for r in read_table(data/f'{k}.parquet').to_dict('records')]
    assert report['pairs'] == 30 and len(rows) == report['kept'] > 20
    assert {r['origin'] for r in rows} == {'askdocs'} and all('open licence' in r['licence'] for r in rows)
    assert {(r['question'], r['answer']) for r in rows} <= {('\n'.join(question(i)), answer(i)) for i in range(30)}
    if 'm.' in source.name: assert {r['occupation'] for r in rows} == {'Physician'}
    if source.name == 'dump': assert sum(r['occupation'] != '' for r in rows) <= 10 < len(rows)
    assert 'Not to be published' in (data/'README.md').read_text()

def test_people_stay_in_one_split(tmp_path):
    from medqa_nb.data import make_splits
    posts,comments = dump(60)
    (d := tmp_path/'d').mkdir()
    lines(d/'p.jsonl', posts); lines(d/'c.jsonl', comments)
    df,report = make_splits([f'askdocs:{d}'], validation=0.2, test=0.3)
    of = {f'askdocs/p{i}#c{i}':i//2 for i in range(60)}
    assert df.key.map(of).notna().all() and len(set(df.split)) == 3
    assert df.groupby(df.key.map(of)).split.nunique().max() == 1

def test_nothing_personal_or_dangerous_survives(tmp_path):
    from medqa_nb.data import prepare
    bad = {0:'Mail me at jo@example.org, I am Dr. Klaus Berger.', 1:'Just drink a little bleach every morning.',
           2:'Stop taking your insulin and drink lemon juice instead.'}
    items = askd(12)
    for i,s in bad.items(): items[i]['answers']['text'][1] += ' ' + s
    items[3]['selftext'], items[4]['selftext'] = '15M, since Monday.', 'I want to kill myself because of it.'
    (p := tmp_path/'a.json').write_text(json.dumps(items))
    df,aside,report = prepare([f'askdocs:{p}'], validation=0.2, test=0.3)
    text = ' '.join([*df.question, *df.answer])
    assert not any(o in text for o in ('example.org', 'Berger', 'bleach', 'insulin', '15M', 'kill'))
    assert dict(zip(aside.key, aside.verdict)) == {'askdocs/q1#b1':'drop', 'askdocs/q2#b2':'review'}
    assert report['harm'] == dict(drop=dict(quackery=1), review=dict(stop_medicine=1))
    dropped = {o['step']:o['dropped'] for o in report['sources'][0]['steps']}
    assert (dropped['question: no crisis'], dropped['question: no minors']) == (1, 1)
    assert 'kill' not in json.dumps(report) and 'example.org' not in json.dumps(report)

def test_lines_that_are_none_are_counted_and_named(tmp_path):
    posts,comments = dump(10)
    p = tmp_path/'all.jsonl'
    good = [json.dumps(o) for o in posts + comments]
    p.write_text('\n'.join([*good[:5], 'no json', '{"id": 1}', '[]', '{"subreddit": "cats", "id": "z", "title": "", "selftext": ""}', *good[5:]]))
    rows,account = read_askdocs(p)
    assert len(rows) == 10
    assert len(account['broken']) == 4 and any('all.jsonl:6: no JSON' in o for o in account['broken'])

def test_a_file_cut_off_in_the_middle(tmp_path):
    import zstandard
    posts,comments = dump(400)
    for o in posts: o['other'] = random.Random(o['id']).randbytes(2000).hex() # so that it takes several blocks
    data = zstandard.compress('\n'.join(json.dumps(o) for pair in zip(posts, comments) for o in pair).encode())
    (p := tmp_path/'cut.jsonl.zst').write_bytes(data[:len(data)*2//3])
    rows,account = read_askdocs(p)
    assert 0 < len(rows) < 400 and any('cut short' in o for o in account['broken'])

def test_the_sample_of_a_large_source_depends_on_nothing_else(tmp_path):
    "The same rows whatever the order of lines; a larger limit takes the same and more; physicians first"
    posts,comments = dump(200)
    a = lines(tmp_path/'a.jsonl', posts + comments)
    random.Random(1).shuffle(posts); random.Random(2).shuffle(comments)
    b = lines(tmp_path/'b.jsonl', comments + posts)
    keys = lambda p, n: [r['key'] for r in read_askdocs(p, most=n)[0]]
    assert keys(a, 40) == keys(b, 40) == keys(a, 90)[:40]
    assert all(r['occupation'] for r in read_askdocs(a, most=40)[0])

@quick
@given(st.one_of(st.binary(max_size=300), st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
       lambda o: st.one_of(st.lists(o, max_size=4), st.dictionaries(st.sampled_from(['id', 'title', 'selftext', 'answers', 'a_id', 'text',
       'score', 'q_id', 'body', 'link_id', 'response']), o, max_size=6)), max_leaves=12).map(lambda o: json.dumps(o).encode())),
       st.sampled_from(['x.json', 'x.jsonl', 'x.csv', 'x.zst']))
def test_any_bytes(tmp_path_factory, data, name):
    p = tmp_path_factory.getbasetemp()/name; p.write_bytes(data)
    try: rows,account = read_askdocs(p)
    except MedqaError as e: assert '\n' not in str(e)
    else: assert account['rows'] == len(rows)

def test_memory_does_not_grow_with_the_file(tmp_path):
    "Rows come in small lists; what was read before them is not kept"
    import tracemalloc
    def peak(n):
        posts,comments = dump(n)
        p = lines(tmp_path/f'{n}.jsonl', posts + comments)
        del posts, comments
        tracemalloc.start()
        total = sum(len(o) for o in askdocs_batches(p, cores=1))
        size = tracemalloc.get_traced_memory()[1]; tracemalloc.stop()
        assert total == n
        return size
    assert peak(12000) < 2*peak(4000)
