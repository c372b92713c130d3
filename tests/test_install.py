"Installing on Colab moves nothing that the image is built on: a resolver says so, for the recorded image."
import configparser, re, subprocess
from pathlib import Path
import nbformat
import pytest

ROOT = Path(__file__).parents[1]

def test_what_moves(tmp_path):
    "With the constraints of the install cell the package resolves on Colab's image; only datasets and pyarrow move, which TRL asks for"
    uv = pytest.importorskip('uv') # beside this Python, on PATH or not
    c = configparser.ConfigParser(); c.read(ROOT/'settings.ini')
    (tmp_path/'requirements.txt').write_text(c['DEFAULT']['requirements'])
    image = dict(re.findall(r'^([\w.-]+)==(\S+)', (ROOT/'tests/colab_image.txt').read_text(), re.M))
    cell = (ROOT/'nbs/03_training.ipynb').read_text()
    kept = re.search(r"keep = '([^']+)'", cell)[1].split()
    (tmp_path/'image.txt').write_text('\n'.join(f'{k}=={v}' for k,v in image.items() if k in kept))
    (tmp_path/'prefer.txt').write_text('\n'.join(f'{k}=={v}' for k,v in image.items())) # what is installed stays where it may
    p = subprocess.run([uv.find_uv_bin(), 'pip', 'compile', '-q', '--python-version', '3.13', '--python-platform', 'x86_64-manylinux_2_34', tmp_path/'requirements.txt', '-c', tmp_path/'image.txt', '-o', tmp_path/'prefer.txt'],
                       capture_output=True, text=True, timeout=300)
    if 'Failed to fetch' in p.stderr or 'error sending request' in p.stderr: pytest.skip('no package registry')
    assert p.returncode == 0, p.stderr
    got = dict(re.findall(r'^([\w.-]+)==(\S+)', (tmp_path/'prefer.txt').read_text().replace('huggingface-hub', 'huggingface_hub'), re.M))
    assert {k for k in image if k in got and got[k] != image[k]} == {'datasets', 'pyarrow'}

def test_the_same_install_cell_everywhere():
    "Seven notebooks, one cell, the first code that runs"
    cells = set()
    for p in sorted((ROOT/'nbs').glob('0[0-6]_*.ipynb')):
        code = [c.source for c in nbformat.read(p, 4).cells if c.cell_type == 'code' and 'default_exp' not in c.source]
        cells.add(re.sub(r'^#\|.*\n', '', code[0]))
    assert len(cells) == 1 and '-c /tmp/image.txt medqa_nb' in cells.pop()
