"""What every stage notebook carries besides its content: a badge that opens it in Colab at this version's tag, a first cell that installs this version, and the runtime that it wants.

  python .github/scripts/stages.py                  # put all three right
  python .github/scripts/stages.py --check [v0.0.1] # exit 1 if something is missing; with a tag, also if the version, the changelog or the README do not agree with it
"""
import re, sys, tomllib
from pathlib import Path
import nbformat

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']['urls']['Repository']
VERSION = re.search(r'__version__ = [\'"](.+?)[\'"]', (ROOT/'medqa_nb/__init__.py').read_text(encoding='utf-8'))[1]
TAG = 'v' + VERSION
GPU = {'03':'A100', '04':'L4', '05':'A100', '06':'L4'} # the cheapest for the job; the others want a processor only
INSTALL = re.compile(r"(-c /tmp/image\.txt medqa_nb)(==[\d.]+)?(?=')")

def badge(name): # Notebook without .ipynb; returns Markdown
    colab = REPOSITORY.replace('https://github.com', 'https://colab.research.google.com/github')
    return f'[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}/blob/{TAG}/nbs/{name}.ipynb)'

def put_right(nb, name): # A notebook; its name without .ipynb
    "The badge below the title, the version that the first cell installs, and Colab's metadata"
    c = next(c for c in nb.cells if c.cell_type == 'markdown' and c.source.startswith('# '))
    text = re.sub(r'\n*\[!\[Open In Colab\].*?\)\]\(.*?\)\n*', '\n\n', c.source).strip()
    head,_,rest = text.partition('\n\n')
    c.source = f'{head}\n\n{badge(name)}\n\n{rest}'.strip()
    for c in nb.cells: c.source = INSTALL.sub(rf'\1=={VERSION}', c.source)
    gpu = GPU.get(name[:2])
    for k in ('accelerator', 'colab'): nb.metadata.pop(k, None)
    if gpu: nb.metadata.update(accelerator='GPU', colab=dict(gpuType=gpu, machine_shape='hm') if gpu == 'L4' else dict(gpuType=gpu))
    return nb

def stages(check): # Only look? Returns the names of notebooks that are, or were, not right
    wrong = []
    for p in sorted((ROOT/'nbs').glob('0[0-6]_*.ipynb')):
        old = nbformat.read(p, 4)
        new = put_right(nbformat.read(p, 4), p.stem)
        if new != old: wrong.append(p.name); check or nbformat.write(new, p)
    return wrong

def disagree(tag): # e.g. v0.0.1
    "What does not agree with a tag: a list of texts"
    out = [] if tag == TAG else [f'medqa_nb/__init__.py says {VERSION}, the tag {tag}: nbdev-bump-version']
    version,changelog,readme = tag.removeprefix('v'),*((ROOT/f).read_text(encoding='utf-8') for f in ('CHANGELOG.md', 'README.md'))
    if not re.search(rf'^## {re.escape(version)}$', changelog, re.M): out.append(f'CHANGELOG.md has no section {version}: nbdev-changelog, or write it')
    if set(re.findall('/blob/(.*?)/nbs/', readme)) != {tag}: out.append(f'README.md has badges of another tag than {tag}: python .github/scripts/docs.py --readme')
    return out

if __name__ == '__main__':
    check,tags = '--check' in sys.argv,[o for o in sys.argv[1:] if o.startswith('v')]
    wrong = stages(check)
    said = [*([f'badge, version or runtime of {", ".join(wrong)}: python .github/scripts/stages.py'] if check and wrong else []), *(o for t in tags for o in disagree(t))]
    if said: sys.exit('\n'.join(said))
