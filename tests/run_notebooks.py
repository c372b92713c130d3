"""Run notebooks top to bottom by nbclient, unchanged, and print a line for each: python tests/run_notebooks.py [--colab] NAME...

With --colab the kernel is Colab's (IPython 7.34, ipywidgets 7.7.1, a stand-in for google.colab), and each notebook gets a
fresh machine: what is on the local disk is deleted before it, what is on Drive stays. /content must be writable.
"""
import os, re, shutil, subprocess, sys, time
from pathlib import Path
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
KERNEL = ('ipython==7.34.0 ipykernel==6.17.1 ipywidgets==7.7.1 traitlets==5.7.1 ' # as on Colab, and what these import:
          'backcall==0.2.0 decorator==5.3.1 ipython_genutils==0.2.0 nest_asyncio==1.6.0 pickleshare==0.7.5').split()

def colab_kernel():
    "Folder with the packages of Colab's kernel, installed once; the rest comes from this environment"
    site,ready = ROOT/'.colab',ROOT/'.colab/ready'
    if not ready.exists() or ready.read_text().split() != KERNEL:
        shutil.rmtree(site, ignore_errors=True)
        subprocess.run([sys.executable, '-m', 'pip', 'install', '-qq', '--no-deps', '--target', site, *KERNEL], check=True)
        ready.write_text(' '.join(KERNEL))
    return site

def environment(colab):
    "Environment of the kernels"
    path = [colab_kernel(), ROOT/'stubs/google-colab-stubs', ROOT] if colab else [ROOT]
    env = dict(os.environ, OMP_NUM_THREADS='1', PYDEVD_DISABLE_FILE_VALIDATION='1', PYTHONPATH=os.pathsep.join(map(str, path)))
    return {**env, 'COLAB_RELEASE_TAG':'emulated'} if colab else env

def run_notebook(name, env):
    "Execute nbs/NAME.ipynb; returns the text that it showed"
    nb = nbformat.read(ROOT/'nbs'/f'{name}.ipynb', 4)
    try: NotebookClient(nb, timeout=600, kernel_name='python3', resources=dict(metadata=dict(path=str(ROOT/'nbs')))).execute(env=env)
    finally: # outputs and tracebacks are what people share
        shown = nbformat.writes(nb)
        for k in ('HF_TOKEN', 'ANTHROPIC_API_KEY'): assert not env.get(k) or env[k] not in shown, f'{name} shows {k}'
    outs = [o for c in nb.cells for o in c.get('outputs', [])]
    return '\n'.join(o.get('text', '') + str(o.get('data', {}).get('text/plain', '')) for o in outs)

def main(names, colab):
    env = environment(colab)
    about = 'import IPython as i, ipykernel as k, ipywidgets as w; print("kernel", i.__version__, k.__version__, w.__version__)'
    subprocess.run([sys.executable, '-c', about], env=env, check=True)
    for n in names:
        if colab: shutil.rmtree('/content/runs', ignore_errors=True)
        t0 = time.time()
        made = re.findall(r'(\w+): nothing in (?:run )?first\b', run_notebook(n, env))
        earlier = [s for s in made if s != n.split('_', 1)[1]]
        print(f'{n} {time.time()-t0:.0f} s' + ''.join(f', made {s}' for s in earlier), flush=True)

if __name__ == '__main__': main([a for a in sys.argv[1:] if a != '--colab'], '--colab' in sys.argv)
