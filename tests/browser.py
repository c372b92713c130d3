"""A real Chromium and a real Jupyter for tests; both are looked for, and their absence is said.

MEDQA_JUPYTER names another Python that has nbclassic and ipywidgets 7.7.1, to drive the same forms there; MEDQA_JUPYTERLAB one with JupyterLab."""
import json, os, random, shutil, subprocess, sys, time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run']
SETTINGS = {'apputils-extension/notification':'{"fetchNews": "false", "checkForUpdates": false, "doNotDisturbMode": true}', 'apputils-extension/themes':'{"theme": "JupyterLab %s"}',
            'notebook-extension/tracker':'{"windowingMode": "none"}'}

def missing(): # Returns a reason, or None
    "What keeps a browser test from running here"
    if not chromium(): return 'there is no chromium (on Debian: apt-get install chromium)'
    try: import jupyterlab, playwright
    except ImportError as e: return f'{e.name} is not installed'

def chromium(): return shutil.which('chromium') or shutil.which('chromium-browser')

@contextmanager
def page(**context):
    "A page of a browser of its own; `page.errors` collects what its console complains of"
    from playwright.sync_api import sync_playwright
    with sync_playwright() as pw:
        b = pw.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            pg = b.new_page(**context)
            pg.errors = []
            pg.on('console', lambda m: m.type == 'error' and pg.errors.append(m.text))
            pg.on('pageerror', lambda e: pg.errors.append(str(e)))
            yield pg
        finally: b.close()

@contextmanager
def serving_folder(folder):
    "The files of a folder by HTTP; yields the address"
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=folder))
    Thread(target=server.serve_forever, daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_port}'
    finally: server.shutdown(); server.server_close()

def started(info, p, seconds=120):
    "Wait for the file in which a Jupyter says where it listens; returns the address"
    for _ in range(10*seconds):
        if info.exists() and (text := info.read_text()).strip().endswith('}'): return json.loads(text)['url'].rstrip('/')
        assert p.poll() is None, 'Jupyter has ended'
        time.sleep(.1)
    raise AssertionError('Jupyter does not start')

def notebook(path, *cells):
    "A notebook of these cells"
    cells = [dict(cell_type='code', id=f'c{i}', metadata={}, source=s, execution_count=None, outputs=[]) for i,s in enumerate(cells)]
    kernel = dict(display_name='Python 3 (ipykernel)', language='python', name='python3')
    path.write_text(json.dumps(dict(cells=cells, metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)))

@contextmanager
def jupyter(folder, theme='Light', **env):
    "JupyterLab (or nbclassic, of another Python) on a folder; yields a function from a notebook's name to its address"
    other,folder = os.environ.get('MEDQA_JUPYTER'),Path(folder)
    for k,v in SETTINGS.items():
        p = Path(folder)/f'.settings/@jupyterlab/{k}.jupyterlab-settings'; p.parent.mkdir(parents=True, exist_ok=True); p.write_text(v.replace('%s', theme))
    env = {**os.environ, 'PYTHONPATH':str(ROOT), 'JUPYTERLAB_SETTINGS_DIR':str(Path(folder)/'.settings'), 'JUPYTER_CONFIG_DIR':str(Path(folder)/'.jupyter'),
           'IPYTHONDIR':str(Path(folder)/'.ipython'),
           'JUPYTER_RUNTIME_DIR':str(folder/'.runtime'), **env}
    env.pop('IN_TEST', None)
    cmd = [other or os.environ.get('MEDQA_JUPYTERLAB', sys.executable), '-m', 'nbclassic' if other else 'jupyterlab', '--no-browser', '--allow-root', f'--port={random.randrange(20000, 30000)}', '--ServerApp.port_retries=50', '--ip=127.0.0.1',
           '--ServerApp.token=', '--IdentityProvider.token=', f'--ServerApp.root_dir={folder}', '--ServerApp.disable_check_xsrf=True']
    if not other: cmd.append('--LabApp.expose_app_in_browser=True')
    with open(Path(folder)/'jupyter.log', 'w') as log: p = subprocess.Popen(cmd, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try: 
        url = started(folder/f'.runtime/jpserver-{p.pid}.json', p)
        yield lambda name: f'{url}/' + (f'nbclassic/notebooks/{name}' if other else f'doc/tree/{name}')
    finally: p.terminate(); p.wait()

def run_all(pg, url):
    "Open a notebook and run all its cells"
    if '/notebooks/' in url:
        pg.goto(url)
        pg.wait_for_selector('.code_cell', timeout=60_000)
        pg.wait_for_function("window.Jupyter && Jupyter.notebook && Jupyter.notebook.kernel && Jupyter.notebook.kernel.is_connected()", timeout=60_000)
        pg.click('#celllink'); pg.click('#run_all_cells')
        return
    base,name = url.split('/doc/tree/')
    r = pg.request.post(f'{base}/api/sessions', timeout=120_000, data=dict(path=name, name=name, type='notebook', kernel=dict(name='python3'))) # a notebook that has its kernel already asks for none
    assert r.ok, f'Jupyter starts no kernel: {r.status} {r.text()}'
    def answer(): pg.errors.append(f'asked: {ask.inner_text()}'); ask.locator('.jp-mod-accept').last.click()
    pg.add_locator_handler(ask := pg.locator('.jp-Dialog').last, answer, no_wait_after=True) # a slow server makes JupyterLab complain, more than once, in dialogs that cover what is to be clicked
    pg.goto(url)
    pg.wait_for_function("window.jupyterapp?.shell.currentWidget?.context?.isReady && jupyterapp.shell.currentWidget.context.sessionContext.session?.kernel?.connectionStatus == 'connected'", timeout=120_000)
    pg.evaluate("async () => { await jupyterapp.shell.currentWidget.revealed; jupyterapp.commands.execute('notebook:run-all-cells') }")
    pg.wait_for_function("/^\\[[*\\d]/.test(document.querySelector('.jp-Cell .jp-InputPrompt')?.innerText.trim() ?? '')", timeout=60_000)
