"""Let badges and install cells follow a tag, and check before a release that everything names the same version.

    python .github/scripts/tag.py 0.1.0          badges open the notebooks of tag 0.1.0, their first cell installs medqa_nb==0.1.0
    python .github/scripts/tag.py main           back: badges open the branch main, the first cell installs the newest
    python .github/scripts/tag.py --check 0.1.0  what the release workflow asks: version, changelog, badges and install cells agree with the tag
"""
import re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSION = r'\d+\.\d+\.\d+'
BADGE,INSTALL = re.compile(rf'(/blob/)(main|{VERSION})(/nbs/\d\d_)'),re.compile(rf'(-c /tmp/image\.txt medqa_nb)((?:=={VERSION})?)(\')')

def files(): # Badges stand in the index and in what is generated from it; install cells in the stage notebooks
    return [ROOT/'nbs/index.ipynb', ROOT/'README.md', *sorted((ROOT/'nbs').glob('0[0-6]_*.ipynb'))]

def follow(ref): # main or a version
    "Rewrite badges and install cells; returns the files that changed"
    changed = []
    for p in files():
        old = p.read_text(encoding='utf-8')
        new = INSTALL.sub(rf'\g<1>{"" if ref == "main" else "==" + ref}\3', BADGE.sub(rf'\g<1>{ref}\3', old))
        if new != old: p.write_text(new, encoding='utf-8'); changed.append(p.name)
    return changed

def wrong(tag): # Version
    "What does not agree with the tag: a list of texts"
    version = re.search(r'__version__ = "([^"]+)"', (ROOT/'medqa_nb/__init__.py').read_text(encoding='utf-8'))[1]
    out = [] if version == tag else [f'medqa_nb/__init__.py says {version}: nbdev-bump-version']
    if not re.search(rf'^## {re.escape(tag)}$', (ROOT/'CHANGELOG.md').read_text(encoding='utf-8'), re.M): out.append(f'CHANGELOG.md has no section {tag}: nbdev-changelog, or write it')
    for p in files():
        text = p.read_text(encoding='utf-8')
        refs = {m[1] for m in BADGE.findall(text)} | {m[1].removeprefix('==') or 'main' for m in INSTALL.findall(text)}
        if not refs: out.append(f'{p.name} has neither badge nor install cell')
        if refs - {tag}: out.append(f'{p.name} names {", ".join(sorted(refs - {tag}))}: python .github/scripts/tag.py {tag}')
    return out

if __name__ == '__main__':
    *check,ref = sys.argv[1:]
    if ref != 'main' and not re.fullmatch(VERSION, ref): sys.exit(f'{ref} is no version such as 0.1.0')
    if check: sys.exit('\n'.join(wrong(ref)) or 0)
    print('\n'.join(follow(ref)) or 'nothing to change')
