"""From a fresh clone to a trained tiny model through the notebooks alone: actions and minutes, with a real browser.

  python bench/first_run.py            # needs chromium, and the packages of the development extra here
"""
import os, resource, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tests'))
import browser

def main():
    d = Path(tempfile.mkdtemp(prefix='first-')); clone,t0 = d/'medqa_nb',time.time()
    def action(n, words):
        c = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f'{time.time()-t0:5.0f} s  {c.ru_utime + c.ru_stime:5.0f} s of processor  action {n}: {words}', flush=True)
    subprocess.run(['git', 'clone', '-q', ROOT, clone], check=True); action(1, 'cloned')
    subprocess.run('python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt . jupyterlab', shell=True, check=True, cwd=clone, stderr=subprocess.DEVNULL); action(2, 'installed')
    os.environ['MEDQA_JUPYTERLAB'] = str(clone/'.venv/bin/python')
    with browser.jupyter(clone/'nbs', PYTHONPATH='', MEDQA_ROOT=str(d/'runs')) as at, browser.page() as pg:
        action(3, 'JupyterLab is open'); browser.run_all(pg, at('03_training.ipynb')); action(4, 'Run all')
        while not (d/'runs/first/training/report.json').exists():
            assert not pg.locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]').count() and time.time() - t0 < 3000, 'the notebook complains'
            time.sleep(.5)
    print(f'{time.time()-t0:5.0f} s  a trained adapter: {[p.name for p in (d/"runs/first/training/adapter").iterdir()]}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors')

if __name__ == '__main__': main()
