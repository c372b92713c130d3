"The project as a whole: imports, notebooks and modules in step, packaging, docs."
import hashlib, json, os, re, shutil, subprocess, sys, tarfile, zipfile
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ['torch', 'evaluate', 'transformers', 'bitsandbytes', 'datasets', 'google.colab', 'anthropic']

def sh(*cmd, cwd=ROOT, **env):
    p = subprocess.run([str(c) for c in cmd], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=900)
    assert p.returncode == 0, p.stdout[-6000:] + p.stderr[-6000:]
    return p.stdout

def tool(name): return Path(sys.executable).parent/name

def tracked():
    "Files of the project, relative to its root: what git knows, or where there is no git, what .gitignore's folders leave"
    try: found = sh('git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard').split('\0')
    except (OSError, AssertionError):
        skip = {l.strip().rstrip('/') for l in (ROOT/'.gitignore').read_text().splitlines() if l.strip()} | {'.git', 'medqa_nb.egg-info'}
        found = [p.relative_to(ROOT).as_posix() for p in ROOT.rglob('*') if p.is_file()]
        found = [f for f in found if f not in skip and not skip & set(Path(f).parts)]
    return sorted({f for f in found if f and (ROOT/f).is_file()})

def contents(d): return {f:hashlib.sha256((d/f).read_bytes()).hexdigest() for f in tracked() if (d/f).exists()}

@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "A copy of the project in which commands may change things"
    d = tmp_path_factory.mktemp('copy')/'medqa_nb'
    for f in tracked(): (d/f).parent.mkdir(parents=True, exist_ok=True); shutil.copy2(ROOT/f, d/f)
    return d

@pytest.mark.parametrize('module', ['', '.setup', '.data', '.augmentation', '.training', '.evaluation', '.comparison', '.release', '.flows', '.cli'])
def test_import_is_light(module):
    code = f'import sys, medqa_nb{module}; print(*[m for m in {HEAVY} if m in sys.modules])'
    assert sh(sys.executable, '-c', code, cwd='/').strip() == ''

def test_export_and_clean_leave_the_tree_as_it_is(copy):
    before = contents(copy)
    for name in ('nbdev-export', 'nbdev-clean'): sh(tool(name), cwd=copy, PYTHONPATH=str(copy))
    after = contents(copy)
    assert [f for f in before if before[f] != after.get(f)] == [], 'edit the notebooks, then nbdev-export and nbdev-clean'

def test_no_widget_state_is_committed():
    for p in (ROOT/'nbs').rglob('*.ipynb'): # apart from code that speaks of it
        nb = json.loads(p.read_text())
        assert 'vnd.jupyter.widget' not in json.dumps([nb['metadata'], *(c.get('outputs') for c in nb['cells'])]), p

def test_committed_outputs_are_fit_to_be_seen():
    "No output is an error, and none tells where on somebody's machine packages or homes lie"
    for p in (ROOT/'nbs').rglob('*.ipynb'):
        for o in (o for c in json.loads(p.read_text(encoding='utf-8'))['cells'] for o in c.get('outputs', [])):
            assert o['output_type'] != 'error', f'{p}: {o["ename"]} {o["evalue"]}'
            text = json.dumps([o.get('text'), {k:v for k,v in o.get('data', {}).items() if not k.startswith('image/')}])
            assert not re.search(r'site-packages|(?<!\w)/(home|Users|root)/', text), f'{p}: {text[:300]}'

def test_readme_is_the_index(): sh(sys.executable, '.github/scripts/docs.py', '--check')

def test_docs_have_no_broken_link(copy):
    out = sh(sys.executable, '.github/scripts/docs.py', cwd=copy)
    assert ' 0 broken links' in out and (copy/'.site/core/03_runs.html').exists()
    assert 'href="core/03_runs.html#api-Run' in ''.join(p.read_text() for p in (copy/'.site').glob('*.html')), 'names in prose are links'

def test_quarto_finds_its_pages(copy):
    "nbdev prepares every page without running a demonstration"
    sh(sys.executable, '.github/scripts/docs.py', '--proc', cwd=copy)
    assert len(list((copy/'_proc').rglob('*.ipynb'))) == len(list((copy/'nbs').rglob('*.ipynb')))
    assert 'repo-url' in (copy/'_proc/nbdev.yml').read_text() and 'core/03_runs.ipynb' in (copy/'_proc/sidebar.yml').read_text()

def test_a_planted_broken_link_is_found(copy):
    site = copy/'.site'
    if not site.exists(): sh(sys.executable, '.github/scripts/docs.py', cwd=copy)
    with (site/'06_release.html').open('a') as f: f.write('<a href="nowhere.html">x</a><a href="01_data.html#nothere">y</a>')
    out = sh(sys.executable, '-c', 'import sys; sys.path.insert(0, ".github/scripts"); import docs; print(docs.broken_links())', cwd=copy)
    assert 'nowhere.html' in out and '01_data.html#nothere' in out

def test_wheel_and_sdist(copy, tmp_path):
    "Both hold the assets; the wheel is built from the sdist and runs from where it is installed"
    sh(sys.executable, '-m', 'build', '--outdir', tmp_path, cwd=copy)
    wheel,sdist = next(tmp_path.glob('*.whl')),next(tmp_path.glob('*.tar.gz'))
    names = zipfile.ZipFile(wheel).namelist()
    for f in ('medqa_nb/assets/tiny/model.safetensors', 'medqa_nb/assets/cpu_config.yaml', 'medqa_nb/core/runs.py'): assert f in names
    assert sum(n.startswith('medqa_nb/assets/sample/') for n in names) > 60
    assert any(n.endswith('settings.ini') for n in tarfile.open(sdist).getnames())
    meta = zipfile.ZipFile(wheel).read(next(n for n in names if n.endswith('METADATA'))).decode()
    assert 'Requires-Dist: trl' in meta and 'Project-URL: Repository' in meta
    sh(sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', tmp_path/'site', wheel)
    out = sh(sys.executable, '-c', 'import medqa_nb.cli as c; print(c.__file__); c.main(["plan", "--gpu", "t4"])', cwd=tmp_path, PYTHONPATH=str(tmp_path/'site'))
    assert str(tmp_path/'site') in out and 'float16' in out

def test_the_address_stands_in_one_place():
    "Apart from what is generated (README, notebook outputs), only pyproject.toml names the repository's owner"
    import tomllib
    owner = tomllib.loads((ROOT/'pyproject.toml').read_text())['project']['urls']['Repository'].split('/')[3]
    files = tracked()
    hits = [f for f in files if f.endswith(('.py', '.ini', '.toml', '.yml', '.yaml', '.md', '.sh')) and f'{owner}/' in (ROOT/f).read_text(encoding='utf-8', errors='ignore')]
    assert set(hits) <= {'pyproject.toml', 'README.md', 'medqa_nb/_modidx.py'}

def test_notebooks_under_nbdev():
    "Every notebook alone, two at a time, each in a root of its own"
    sh(tool('nbdev-test'), '--n-workers', '2', HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1')
