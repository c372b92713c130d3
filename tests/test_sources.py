"Whatever a source holds, the readers give an account of it or one MedqaError."
import io, tarfile
from pathlib import Path
from hypothesis import HealthCheck, given, settings, strategies as st
from medqa_nb.core.files import MedqaError, assets
from medqa_nb.core.sources import parse_document, read_rows, read_xml

quick = settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
GOOD = next(p for p in sorted(assets('sample').rglob('*.xml'))).read_bytes()

def archive(path, *members): # (name, bytes) or a TarInfo
    with tarfile.open(path, 'w') as t:
        for m in members:
            if isinstance(m, tarfile.TarInfo): t.addfile(m); continue
            info = tarfile.TarInfo(m[0]); info.size = len(m[1]); t.addfile(info, io.BytesIO(m[1]))
    return path

def link(name, to):
    info = tarfile.TarInfo(name); info.type = tarfile.SYMTYPE; info.linkname = to
    return info

def account_of(read, *args):
    "What the reader says: rows and an account, or None for a MedqaError; nothing else may be raised"
    try: rows,account = read(*args)
    except MedqaError as e: assert '\n' not in str(e); return None
    assert account['pairs'] == len(rows) == len({r['key'] for r in rows})
    return account

@quick
@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)))
def test_any_bytes_as_xml(tmp_path_factory, data):
    "A file of anything beside a good one is read, or it is named"
    d = tmp_path_factory.getbasetemp()
    a = account_of(read_xml, archive(d/'any.tar', ('x/good.xml', GOOD), ('x/odd.xml', data)))
    assert a['files'] == 2 and a['broken'] + a['unknown'] == ['x/odd.xml']

@quick
@given(st.integers(0, len(GOOD)), st.binary(max_size=4))
def test_a_good_file_cut_and_stained(tmp_path_factory, at, stain):
    d = tmp_path_factory.getbasetemp()
    a = account_of(read_xml, archive(d/'cut.tar', ('x/good.xml', GOOD), ('x/cut.xml', GOOD[:at] + stain + GOOD[at+len(stain):])))
    assert a['files'] == 2
    b = account_of(read_xml, archive(d/'cut.tar', ('x/good.xml', GOOD), ('x/cut.xml', GOOD[:at])))
    assert b['files'] == 2 and (b['broken'] == ['x/cut.xml'] or GOOD[at:].strip() == b'')

@quick
@given(st.binary(max_size=300), st.sampled_from(['csv', 'jsonl']))
def test_any_bytes_as_a_table(tmp_path_factory, data, kind):
    p = tmp_path_factory.getbasetemp()/f'any.{kind}'; p.write_bytes(data)
    account_of(read_rows, p, kind)

@quick
@given(st.binary(max_size=300))
def test_any_bytes_as_an_archive(tmp_path_factory, data):
    p = tmp_path_factory.getbasetemp()/'any.tar.gz'; p.write_bytes(data)
    assert account_of(read_xml, p) is None

def test_names_that_climb_links_and_repeats(tmp_path):
    "Nothing is unpacked, so a name that climbs is only a name; a link is named as broken; the same name twice is two files"
    before = sorted(tmp_path.parent.rglob('*'))
    p = archive(tmp_path/'a.tar', ('../../etc/cron.xml', GOOD), ('x/1.xml', GOOD), ('y/x/1.xml', GOOD), link('x/2.xml', '/etc/passwd'))
    a = account_of(read_xml, p)
    assert a['files'] == 4 and a['pairs'] == 3*len(parse_document(GOOD, 'x')) and a['broken'] == ['x/2.xml'] and not a['unknown']
    assert sorted(tmp_path.parent.rglob('*')) == sorted([*before, p])

def test_a_huge_answer_is_read(tmp_path):
    "100 MB in one answer"
    big = b'<Document source="s"><Focus>Flu</Focus><QAPairs><QAPair pid="1"><Question qtype="causes">Why?</Question><Answer>'
    big += b'flu virus '*10**7 + b'</Answer></QAPair></QAPairs></Document>'
    rows,a = read_xml(archive(tmp_path/'big.tar', ('x/big.xml', big)))
    assert a['pairs'] == 1 and len(rows[0]['answer']) == 10**8 - 1

def table(path, n=60): # A table of one's own with other column names
    import csv
    with open(path, 'w', newline='') as f:
        w = csv.writer(f); w.writerow(['Frage', 'Antwort', 'Thema'])
        for i in range(n): w.writerow([f'What helps against illness {i//2} at stage {i}?', f'Rest for {i} days, then see a nurse about point {i}.', f'Illness {i//2}'])
    return path

def test_a_table_of_ones_own_goes_through_the_same_checks(tmp_path):
    from medqa_nb.data import make_splits
    df,report = make_splits([f'csv:{table(tmp_path/"faq.csv")}?question=Frage&answer=Antwort&focus=Thema'], validation=0.2, test=0.3)
    assert report['pairs'] == 60 and len(df) == report['kept'] > 40 and min(report['splits'].values()) > 0
    assert df.groupby('focus').split.nunique().max() == 1 and set(df.licence) == {'unknown'}

def test_the_copy_on_the_hub_means_the_same_rows(tmp_path):
    "A parquet in the hub's columns, made from the sample: the same conditions are grouped, and rows of both sources are one"
    import pandas as pd
    from medqa_nb.core.sources import hub_columns, read_source
    from medqa_nb.data import make_splits
    rows = [{**r, 'document':r['key'].rpartition('#')[0]} for r in read_source('sample')[0]]
    flat = lambda v: '|'.join(v) if isinstance(v, list) else v
    pd.DataFrame([{c:flat(r[k]) for k,c in hub_columns.items()} for r in rows]).to_parquet(tmp_path/'train.parquet')
    one,_ = make_splits(['sample'], validation=0.08, test=0.3)
    both,report = make_splits(['sample', f'hf:{tmp_path}'], validation=0.08, test=0.3)
    assert report['pairs'] == 2*len(rows) and report['sources'][1]['rows'] == 0
    assert set(one.key) == set(both.key) and report['leakage']['focus'] == 0

def test_a_copy_without_conditions_is_refused(tmp_path):
    import pandas as pd, pytest
    from medqa_nb.core.sources import read_source
    pd.DataFrame(dict(qtype=['causes'], Question=['Why?'], Answer=['So.'])).to_parquet(tmp_path/'a.parquet')
    with pytest.raises(MedqaError, match='cannot be split without leaks'): read_source(f'hf:{tmp_path}')

def test_rows_only_move_for_a_reason(tmp_path):
    "Of any part of the sample, extended by the rest: a row that changes its split joined another group, got company, or was repeated"
    import random
    from medqa_nb.core.cleaning import clean, document
    from medqa_nb.core.sources import read_source
    from medqa_nb.core.splitting import moves, split_rows
    rows = clean(read_source('sample')[0])[0]
    full = split_rows(rows, validation=0.08, test=0.3)[0]
    docs = sorted(set(document(rows.key)))
    for seed in range(6):
        some = set(random.Random(seed).sample(docs, len(docs)*2//3))
        old = split_rows(rows[document(rows.key).isin(some)].reset_index(drop=True), validation=0.08, test=0.3)[0]
        moved = moves(old, full)
        assert not (moved.why == 'other settings').any()
        grown = set(full.group[~full.key.isin(old.key)])
        alone = old[~old.key.map(full.set_index('key').group).isin(grown)].merge(full, on='key', suffixes=('', '_now'))
        same = alone[alone.group == alone.group_now]
        assert len(same) > 20 and (same.split == same.split_now).all()

def test_other_sources_move_nothing(tmp_path):
    "A table that shares nothing with the sample leaves every row where it was"
    from medqa_nb.core.splitting import moves
    from medqa_nb.data import make_splits
    opts = dict(validation=0.08, test=0.3)
    old,_ = make_splits(['sample'], **opts)
    new,_ = make_splits([f'csv:{table(tmp_path/"0.csv", 400)}?question=Frage&answer=Antwort&focus=Thema', 'sample'], **opts)
    assert len(new) > len(old) and len(moves(old, new)) == 0

def test_the_data_folder_is_a_dataset(tmp_path, monkeypatch):
    "`datasets` reads the folder by its card, and the card names the licence"
    from medqa_nb.core.runs import Run
    from medqa_nb.data import build_data
    run = Run.open(str(tmp_path/'run'), new=dict(data=dict(sources=['sample'], validation=0.08, test=0.3)))
    report = build_data(run, progress=False)
    import datasets
    from huggingface_hub import DatasetCard
    ds = datasets.load_dataset(str(run.path('data')), cache_dir=str(tmp_path/'cache'))
    assert {k:len(v) for k,v in ds.items()} == report['splits']
    card = DatasetCard.load(run.path('data', 'README.md'))
    assert card.data.license == 'apache-2.0' and f'{report["pairs"]:,}' in card.text

def test_a_second_checker_finds_no_leak(tmp_path):
    from leaks import check
    from medqa_nb.core.runs import Run
    from medqa_nb.data import build_data
    run = Run.open(str(tmp_path/'run'), new=dict(data=dict(sources=['sample'], validation=0.08, test=0.3)))
    build_data(run, progress=False)
    assert check(run.path('data')) == dict(document=0, focus=0, cui=0, question=0, group=0, near_duplicate=0)
