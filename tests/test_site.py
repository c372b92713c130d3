"The docs site in Chromium: at the width of a phone and of a desk, light and dark, by axe, searched, and without a word on the console."
import os, subprocess, sys
from pathlib import Path
import pytest
from browser import ROOT, missing, page, serving_folder

pytestmark = pytest.mark.skipif(bool(missing()), reason=str(missing()))
SIZES = dict(phone=dict(width=390, height=844), desk=dict(width=1280, height=900))
LOOKED_AT = ['index', '00_setup', '03_training', 'first', 'costs', 'trouble', 'core/01_config', 'core/26_live'] # of every kind of page; MEDQA_ALL_PAGES looks at all

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "The site, built into a folder of its own"
    out = tmp_path_factory.mktemp('site')
    code = f'import sys; sys.path.insert(0, ".github/scripts"); import docs; from pathlib import Path; docs.OUT = Path({str(out)!r}); docs.TOC = docs.OUT/"template.html"; print(docs.build())'
    p = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH':str(ROOT)})
    assert p.returncode == 0 and p.stdout.strip() == '[]', p.stdout[-2000:] + p.stderr[-2000:]
    with serving_folder(str(out)) as url: yield out, url

@pytest.fixture(scope='module')
def axe():
    import axe_playwright_python
    return (Path(axe_playwright_python.__file__).parent/'axe.min.js').read_text()

def pages(out): return sorted(p.relative_to(out).with_suffix('').as_posix() for p in out.rglob('*.html')) if os.environ.get('MEDQA_ALL_PAGES') else LOOKED_AT

@pytest.mark.parametrize('size,scheme', [('phone', 'light'), ('desk', 'dark')])
def test_pages(site, axe, size, scheme):
    "Nothing is wider than the screen, axe finds no fault, the console is silent"
    out,url = site
    with page(viewport=SIZES[size], color_scheme=scheme) as pg:
        for name in pages(out):
            pg.goto(f'{url}/{name}.html')
            wide = pg.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
            assert wide <= 0, f'{name} is {wide} pixels wider than a {size}'
            pg.evaluate(axe)
            found = pg.evaluate('axe.run({resultTypes: ["violations"]}).then(r => r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200), v.nodes[0].failureSummary.slice(0, 200)]))')
            assert not found, f'{name}, {size}, {scheme}: {found}'
        assert not pg.errors, pg.errors

def test_search_and_menu(site):
    "By keyboard on a desk, by a tap on a phone"
    out,url = site
    with page(viewport=SIZES['phone']) as pg:
        pg.goto(f'{url}/core/01_config.html')
        assert not pg.locator('#pages').is_visible()
        pg.click('#menu'); assert pg.locator('#pages').is_visible() and pg.get_attribute('#menu', 'aria-expanded') == 'true'
        pg.keyboard.press('/'); pg.keyboard.type('session dies')
        pg.wait_for_selector('#hits a'); pg.keyboard.press('Enter'); pg.wait_for_url('**/sessions.html*')
        assert not pg.errors, pg.errors

def test_text_for_language_models(site):
    "llms.txt names every page, and each of its links is there"
    import re
    out,_ = site
    links = re.findall(r'\]\(([^)]+)\)', (out/'llms.txt').read_text())
    assert len(links) == len(list(out.rglob('*.html'))) - 1 and all((out/l).read_text().strip() for l in links)
