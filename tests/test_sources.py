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
