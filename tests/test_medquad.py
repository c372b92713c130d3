"""The data stage on all of MedQuAD. Set MEDQA_MEDQUAD to the archive of commit 577bd37 (tar.gz) to run these."""
import gzip, os
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
archive = os.environ.get('MEDQA_MEDQUAD')
pytestmark = pytest.mark.skipif(not archive, reason='MEDQA_MEDQUAD does not name an archive of MedQuAD')

@pytest.fixture(scope='module')
def made():
    from medqa_nb.data import make_splits
    return make_splits([archive], split_seed=0)

def test_every_file_and_pair_is_accounted_for(made):
    r = made[1]
    assert (r['files'], r['pairs'], r['answered'], r['broken']) == (11274, 47457, 16423, [])
    assert r['sources'][0]['verified'] and r['kept'] == sum(r['splits'].values()) == len(made[0])

def test_each_step_changes_what_is_known_to_be_there(made):
    "Counts that were taken from the data by other means: openers of CancerGov and MedlinePlus, phenotype tables of GARD"
    changed = {o['step']:o['changed'] for o in made[1]['funnel']}
    assert (changed['key points'], changed['summary label'], changed['phenotype tables']) == (290, 295, 2243)

def test_question_types_as_people_name_them():
    "The four names of the common recipe, which match no row as they are, mean 5,847 answered rows"
    from medqa_nb.core.cleaning import question_types
    from medqa_nb.core.sources import read_source
    rows,_ = read_source(archive)
    types = question_types(['Treatment', 'Symptoms', 'Diagnosis', 'Side Effects'], {r['qtype'] for r in rows})
    assert sum(r['qtype'] in types and r['answer'] != '' for r in rows) == 5847

def test_nothing_leaks(made):
    leaks = made[1]['leakage']
    assert [leaks[k] for k in ('focus', 'cui', 'question', 'near_duplicate')] == [0]*4
    assert leaks['random_split']['focus'] > 0.7*leaks['random_split']['rows']

def test_near_duplicates_agree_with_minhash(made):
    "Whatever MinHash finds across the sides and the exact Jaccard index confirms would be a leak"
    datasketch = pytest.importorskip('datasketch')
    from medqa_nb.core.splitting import jaccard, shingles
    df = made[0]
    sets = dict(zip(df.key, (shingles(o) for o in df.answer)))
    lsh = datasketch.MinHashLSH(threshold=0.7, num_perm=128)
    def sketch(k):
        m = datasketch.MinHash(num_perm=128)
        m.update_batch([o.tobytes() for o in sets[k]])
        return m
    for k in df.key[df.split != 'train']: lsh.insert(k, sketch(k))
    train = df[df.split == 'train'].sample(2000, random_state=0)
    found = [(k, o) for k in train.key for o in lsh.query(sketch(k)) if jaccard(set(sets[k].tolist()), set(sets[o].tolist())) >= 0.8]
    assert not found

def test_the_tiny_base_has_seen_no_held_out_row(made):
    "No row whose answer the embedded base has read is in validation or test, by key, group or answer"
    df = made[0]
    seen = gzip.decompress((ROOT/'bench/tiny_base_rows.txt.gz').read_bytes()).decode().split('\n')
    read,held = df[df.key.isin(seen)],df[df.split != 'train']
    assert len(read) > 9700 and not set(seen) & set(held.key)
    for c in ('key', 'group', 'answer'): assert not set(read[c]) & set(held[c]), c

def test_a_second_checker_agrees(made):
    "Code that shares nothing with the splitter finds nothing in common across the splits, and plenty in a random split"
    import numpy as np
    from leaks import leaks
    rows = {k:d.to_dict('records') for k,d in made[0].groupby('split')}
    none = {k:set() for k in ('document', 'focus', 'cui', 'question', 'group', 'near_duplicate')}
    assert leaks(rows['train'], rows['validation'] + rows['test']) == none
    assert leaks(rows['validation'], rows['test']) == none
    dealt = made[0].assign(split=np.random.default_rng(1).permutation(made[0].split.values))
    rows = {k:d.to_dict('records') for k,d in dealt.groupby('split')}
    found = leaks(rows['train'], rows['test'])
    assert len(found['focus']) > 0.75*len(rows['test']) and len(found['near_duplicate']) > 0.03*len(rows['test'])

def test_no_harm_is_dropped_from_pages_of_institutes(made):
    "Nothing that the NIH and the CDC write is dropped as harmful; a few answers about stopping a medicine wait for a person"
    harm = made[1]['harm']
    assert harm['drop'] == {} and 0 < sum(harm['review'].values()) < 20
