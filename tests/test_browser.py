"Every form in a real browser, by mouse and by keyboard: what is chosen arrives in run.yaml, and estimates follow the sliders."
import os, statistics, time
import pytest
from browser import jupyter, missing, notebook, page, run_all
from medqa_nb.core.config import Config, fields, load_config, sections
from medqa_nb.core.forms import kind_of, steps_of

pytestmark = pytest.mark.skipif(bool(missing()), reason=str(missing()))
OPEN = '''from medqa_nb.core.runs import Run
from medqa_nb.core.forms import Form
from medqa_nb.core.estimates import Estimate
run = Run.open('browser', new=dict(gpu=dict(profile='t4')))'''
REST = [s for s in sections if s not in ('gpu', 'budget', 'lora')]
FIELDS = {(f.section, f.name):f for s in sections for f in fields(s)}

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "A page with forms for all sections, and the folder of its run"
    d = tmp_path_factory.mktemp('lab'); root = d/'runs'; root.mkdir()
    notebook(d/'forms.ipynb', OPEN, "Form(run, 'gpu', 'budget', 'lora', listen=Estimate)", f'Form(run, *{REST})')
    with jupyter(d, MEDQA_ROOT=str(root), HF_HUB_OFFLINE='1') as at, page(viewport=dict(width=1400, height=1800)) as pg:
        pg.set_default_timeout(60_000)
        run_all(pg, at('forms.ipynb'))
        pg.wait_for_selector('.medqa-release-name', timeout=90_000)
        yield pg, root/'browser'

def settings(run, read={}):
    "What run.yaml says, parsed once for each content"
    if (text := (run/'run.yaml').read_text()) not in read: read.clear(); read[text] = Config().update(load_config(run/'run.yaml')).to_dict()
    return read[text]

def place(k): return '.medqa-' + '-'.join(k)

def wait_until(check, what, seconds=60):
    for _ in range(5*seconds):
        if check(): return
        time.sleep(.2)
    raise AssertionError(what())

def another(f, v): # Field; its value. Returns another value, and the keys that choose it
    "Something else for a setting"
    kind = kind_of(f, v)
    if kind == 'tick': return not v, ['Space']
    if kind == 'doubling': s = steps_of(f, v); return s[s.index(v) + 1], ['ArrowRight']
    if kind == 'slider': return round(v + .01, 2), ['ArrowRight']
    if (f.section, f.name) == ('comparison', 'settings'): return [{'rank':8}], '{rank: 8}'
    if f.kind == 'listing': return ['a', 'b'], 'a, b'
    if f.kind == 'mapping': return {'rank':[8]}, '{rank: [8]}'
    new = v - 1 if f.kind == 'whole' and v else (v or 2)/2 if f.kind == 'number' else 1 if f.kind == 'whole' else 'browser' if f.name == 'name' else 'other'
    return new, str(new)

def check_arrived(run, want):
    wrong = lambda: {k:(settings(run)[k[0]][k[1]], v) for k,v in want.items() if settings(run)[k[0]][k[1]] != v}
    wait_until(lambda: not wrong(), wrong)

def test_estimates_follow_the_slider(lab):
    "From the key to the changed tile in less than 200 ms; the best of a few rounds, because other work shares this machine"
    pg,_ = lab
    pg.evaluate('''window.watch = () => new Promise(done => { const t0 = performance.now(), find = () => [...document.querySelectorAll(".widget-html-content")].find(e => e.innerText.includes("trained weights"))?.innerText, old = find()
        const o = new MutationObserver(() => { if (find() !== old) { o.disconnect(); done(performance.now() - t0) } }); o.observe(document.body, {subtree:true, childList:true, characterData:true}); setTimeout(() => done(1e6), 5000) })''')
    handle,rounds = pg.locator(place(('lora', 'rank'))).locator('.noUi-handle, .ui-slider-handle').first,[]
    for _ in range(8):
        ms = []
        for key in ['ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowLeft', 'ArrowLeft', 'ArrowLeft']:
            handle.focus()
            pg.evaluate('() => { window.seen = watch() }'); pg.keyboard.press(key); ms.append(pg.evaluate('() => window.seen'))
        rounds.append(statistics.median(ms))
        if rounds[-1] < 200: break
    print('ms from key to tile:', rounds)
    assert min(rounds) < 200

LAST = [[(f.section, f.name) for s in form for f in fields(s) if f.expert][-1] for form in (('gpu', 'budget', 'lora'), REST)] # of each form: the last expert's setting
FOCUSED = '''(e => { const b = e.closest("[class*=medqa-]"), readout = e.classList.contains("widget-readout") || e.hasAttribute("contenteditable")
    return [b && !readout ? [...b.classList].find(c => c.startsWith("medqa-")) : e.tagName + " " + e.className, e.innerText.trim()] })(document.activeElement)'''

def test_by_keyboard(lab):
    "Tab reaches every setting of every section, experts' ones behind their button, too; arrows, space and typing change it"
    pg,run = lab
    more = pg.locator('.widget-toggle-button', has_text='More settings')
    wait_until(lambda: more.count() == 2, more.count)
    for i in range(2): # on a busy machine JupyterLab may take the focus back for a moment
        for _ in range(20):
            if 'mod-active' in more.nth(i).get_attribute('class'): break
            more.nth(i).focus(); pg.keyboard.press('Space'); pg.wait_for_timeout(500)
    pg.locator(place(LAST[-1])).wait_for()
    now,want,way = settings(run),{},[]
    for first in (('gpu', 'profile'), ('run', 'name')): # the first field of each form
        pg.locator(place(first)).locator('button, input').first.focus()
        for _ in range(3*len(FIELDS)):
            name,words = pg.evaluate(FOCUSED)
            way.append(name)
            k = tuple(name.split('-')[1:]) if name.startswith('medqa-') else None
            if k and FIELDS[k].choices:
                if k not in want and words != now[k[0]][k[1]]: want[k] = words; pg.keyboard.press('Space')
            elif k and k not in want:
                want[k],keys = another(FIELDS[k], now[k[0]][k[1]])
                if isinstance(keys, str): pg.keyboard.press('Control+a'); pg.keyboard.type(keys)
                else: pg.keyboard.press(keys[0])
            pg.keyboard.press('Tab')
            if not name or k in LAST: break
    assert set(want) == set(FIELDS), f'not reached by Tab: {sorted(set(FIELDS) - set(want))}; the way was {way}'
    check_arrived(run, want)

def test_by_mouse(lab):
    "Clicks and dragging, on one setting of every kind"
    pg,run = lab
    click = lambda k, part: pg.locator(place(k)).locator(part).first.click()
    want,now = {},settings(run)
    for k in (('lora', 'rslora'), ('training', 'packing'), ('evaluation', 'safety')): click(k, 'input'); want[k] = not now[k[0]][k[1]]
    for k,v in ((('training', 'learning_rate'), '0.001'), (('data', 'sources'), 'sample'), (('training', 'keep'), '7')):
        pg.locator(place(k)).locator('input').click(click_count=3); pg.keyboard.type(v)
        want[k] = {'0.001':.001, 'sample':['sample'], '7':7}[v]
    pg.locator(place(('augmentation', 'method'))).locator('button', has_text='none').click(); want['augmentation', 'method'] = 'none'
    pg.locator(place(('lora', 'rank'))).scroll_into_view_if_needed()
    track = pg.locator(place(('lora', 'rank'))).locator('.noUi-base, .ui-slider').first.bounding_box()
    handle = pg.locator(place(('lora', 'rank'))).locator('.noUi-handle, .ui-slider-handle').first.bounding_box()
    pg.mouse.move(handle['x'] + handle['width']/2, handle['y'] + handle['height']/2); pg.mouse.down()
    pg.mouse.move(track['x'] + track['width'] + 20, handle['y'] + 5, steps=8); pg.mouse.up()
    want['lora', 'rank'] = 256
    check_arrived(run, want)
    pg.locator('button', has_text='small (8, 16)').click()
    check_arrived(run, {('lora', 'rank'):8, ('lora', 'alpha'):16})

def test_wrong_values_are_explained_in_place(lab):
    "An impossible value, and a run.yaml that was edited into nonsense: words beside the field, the file as it was"
    pg,run = lab
    def type_into(k, v): pg.locator(place(k)).locator('input').click(click_count=3); pg.keyboard.type(v); pg.keyboard.press('Tab')
    beside = lambda k: pg.locator(f'.widget-hbox:has(> {place(k)})').inner_text()
    type_into(('training', 'learning_rate'), 'fast')
    wait_until(lambda: "'fast' is not a number from 1e-07 to 1" in beside(('training', 'learning_rate')), lambda: beside(('training', 'learning_rate')))
    assert settings(run)['training']['learning_rate'] != 'fast'
    good = (run/'run.yaml').read_text()
    (run/'run.yaml').write_text(nonsense := good.replace('lora:', 'loar:'))
    type_into(('training', 'warmup'), '0.2')
    wait_until(lambda: 'did you mean lora?' in beside(('training', 'warmup')), lambda: beside(('training', 'warmup')))
    assert (run/'run.yaml').read_text() == nonsense
    (run/'run.yaml').write_text(good.replace('seed: ', 'seed: 1', 1))
    type_into(('training', 'warmup'), '0.3')
    wait_until(lambda: 'run.yaml was changed elsewhere: run.seed is now' in pg.locator('.widget-html', has_text='changed elsewhere').inner_text(), lambda: 'no word of the other tab')
    check_arrived(run, {('training', 'warmup'):.3})
