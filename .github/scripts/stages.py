"""What every stage notebook carries besides its content: a badge that opens it in Colab at this version's tag, and the runtime that it wants.

  python .github/scripts/stages.py          # put both right
  python .github/scripts/stages.py --check  # exit 1 if something is missing
"""
import re, sys, tomllib
from pathlib import Path
import nbformat

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']['urls']['Repository']
TAG = 'v' + re.search(r'__version__ = [\'"](.+?)[\'"]', (ROOT/'medqa_nb/__init__.py').read_text(encoding='utf-8'))[1]
GPU = {'03':'A100', '04':'L4', '05':'A100', '06':'L4'} # the cheapest for the job; the others want a processor only

def badge(name): # Notebook without .ipynb; returns Markdown
    colab = REPOSITORY.replace('https://github.com', 'https://colab.research.google.com/github')
    return f'[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}/blob/{TAG}/nbs/{name}.ipynb)'

def put_right(nb, name): # A notebook; its name without .ipynb
    "The badge below the title, and Colab's metadata"
    c = next(c for c in nb.cells if c.cell_type == 'markdown' and c.source.startswith('# '))
    text = re.sub(r'\n*\[!\[Open In Colab\].*?\)\]\(.*?\)\n*', '\n\n', c.source).strip()
    head,_,rest = text.partition('\n\n')
    c.source = f'{head}\n\n{badge(name)}\n\n{rest}'.strip()
    gpu = GPU.get(name[:2])
    for k in ('accelerator', 'colab'): nb.metadata.pop(k, None)
    if gpu: nb.metadata.update(accelerator='GPU', colab=dict(gpuType=gpu, machine_shape='hm') if gpu == 'L4' else dict(gpuType=gpu))
    return nb

if __name__ == '__main__':
    wrong = []
    for p in sorted((ROOT/'nbs').glob('0[0-6]_*.ipynb')):
        old = nbformat.read(p, 4)
        new = put_right(nbformat.read(p, 4), p.stem)
        if new != old: wrong.append(p.name); '--check' in sys.argv or nbformat.write(new, p)
    if '--check' in sys.argv and wrong: sys.exit(f'badge or runtime of {", ".join(wrong)}: python .github/scripts/stages.py')
