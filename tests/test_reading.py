"Stage notebooks as a reader meets them: promise, one idea at a time, what to do when it fails, the way on."
import re, statistics, subprocess, sys
from pathlib import Path
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
STAGES = sorted((ROOT/'nbs').glob('0[0-6]_*.ipynb'))
OURS = [*STAGES, ROOT/'nbs/07_flows.ipynb', ROOT/'nbs/08_cli.ipynb']

def read(p): return nbformat.read(p, 4)

@pytest.mark.parametrize('path', sorted((ROOT/'nbs').rglob('*.ipynb')), ids=lambda p: p.stem)
def test_format(path):
    "Valid for GitHub's renderer, one title, and headings that make a table of contents"
    nb = read(path)
    nbformat.validate(nb)
    assert 'widgets' not in nb.metadata
    heads = [h for c in nb.cells if c.cell_type == 'markdown' for h in re.findall(r'^(#+) (.+)$', re.sub(r'```.*?```', '', c.source, flags=re.S), re.M)]
    assert heads[0][0] == '#' and [h for h,_ in heads].count('#') == 1
    assert all(len(b) <= len(a) + 1 for (a,_),(b,_) in zip(heads, heads[1:])), 'no level is jumped over'
    assert len({t for _,t in heads}) == len(heads), 'a heading that stands twice leads nowhere'

def test_badges_and_runtimes():
    "Each opens in Colab at this version's tag, on the runtime that it wants"
    p = subprocess.run([sys.executable, '.github/scripts/stages.py', '--check'], cwd=ROOT, capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    assert {p.stem[:2] for p in STAGES if read(p).metadata.get('accelerator') == 'GPU'} == {'03', '04', '05', '06'}

@pytest.mark.parametrize('path', STAGES, ids=lambda p: p.stem)
def test_promise_and_way_on(path):
    md = [c.source for c in read(path).cells if c.cell_type == 'markdown']
    assert all(w in ' '.join(md[:2]).lower() for w in ('you will have', 'cost')) and re.search(r'takes|how long', ' '.join(md[:2]).lower())
    assert any(m.startswith('## Run it') for m in md) and any('## When it fails' in m for m in md) and 'Next: [' in md[-1]

def test_cells_are_short_and_explained():
    "About a third of the cells prose; half of the exported cells at most 9 lines, nine of ten at most 25"
    lines,prose = [],[]
    for p in OURS:
        cells = read(p).cells
        prose.append(sum(c.cell_type == 'markdown' for c in cells)/len(cells))
        lines += [sum(not l.startswith('#|') for l in c.source.splitlines()) for c in cells if c.cell_type == 'code' and c.source.startswith('#| export')]
    assert min(prose) >= .3, dict(zip([p.stem for p in OURS], prose))
    assert sorted(lines)[int(.9*len(lines))] <= 25 and statistics.median(lines) <= 9, (statistics.median(lines), sorted(lines)[int(.9*len(lines))])
