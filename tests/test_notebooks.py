"The stage notebooks run top to bottom, unchanged: in a plain Jupyter kernel, twice, and in an emulated Colab. (nbdev-test: test_project.)"
import json, os, shutil, subprocess, sys
from pathlib import Path
import pytest

HERE = Path(__file__).resolve().parent
STAGES = ['data', 'augmentation', 'training', 'evaluation', 'comparison', 'release']
NAMES = [f'{i:02}_{s}' for i,s in enumerate(['setup', *STAGES])]
QUICK = dict(MEDQA_CONFIG=str(HERE.parent/'medqa_nb/assets/quick_config.yaml'), HF_HUB_OFFLINE='1')

def start(args, wrap=(), **env):
    "Run notebooks in a process; returns a function that waits and gives status and output"
    clean = {k:v for k,v in os.environ.items() if k not in ('IN_TEST', 'MEDQA_ROOT', 'COLAB_RELEASE_TAG')}
    p = subprocess.Popen([*wrap, sys.executable, str(HERE/'run_notebooks.py'), *args], env={**clean, **QUICK, **env},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    def wait():
        out = p.communicate(timeout=900)[0]
        return p.returncode, out
    return wait

def own_content(folder):
    "A command prefix under which /content is `folder`, or the reason why that cannot be had"
    if not shutil.which('unshare'): return None, 'there is no unshare'
    try: os.makedirs('/content', exist_ok=True)
    except OSError as e: return None, f'/content cannot be made: {e.strerror}'
    wrap = ['unshare', '-m' if os.geteuid() == 0 else '-rm', 'bash', '-c', f'mount --bind "{folder}" /content && exec "$@"', 'bash']
    p = subprocess.run([*wrap, 'true'], capture_output=True, text=True)
    return (wrap, None) if p.returncode == 0 else (None, p.stderr.strip())

@pytest.fixture(scope='module')
def colab(tmp_path_factory):
    "All stage notebooks in an emulated Colab, begun now and read later, so that both cores have work"
    content = tmp_path_factory.mktemp('content')
    wrap,reason = own_content(content)
    return content, reason, wrap and start(['--colab', *NAMES], wrap)

def reports(root): return {p.relative_to(root):p.stat().st_mtime_ns for p in root.rglob('report.json')}

def test_plain_kernel_twice(colab, tmp_path):
    "From nothing, then again in the same root: the second time everything is found done"
    code,out = start(NAMES, MEDQA_ROOT=str(tmp_path))()
    assert code == 0 and ', made' not in out, out
    first = reports(tmp_path)
    assert {p.parent.name for p in first} == set(STAGES)
    code,out = start(NAMES, MEDQA_ROOT=str(tmp_path))()
    assert code == 0 and ', made' not in out, out
    assert reports(tmp_path) == first, 'no stage was done again'

def test_emulated_colab(colab):
    "A fresh machine for each notebook; what one leaves on Drive, the next finds there"
    content,reason,wait = colab
    if reason: pytest.skip(f'needs a /content of its own: {reason}')
    code,out = wait()
    assert code == 0, out
    assert 'kernel 7.34.0 6.17.1 7.7.1' in out and ', made' not in out, out
    store = content/'drive/MyDrive/medqa_nb/first'
    snapshot = json.loads((store/'snapshot.json').read_text())
    for stage in STAGES: assert (store/stage/'report.json').exists() and f'{stage}/report.json' in snapshot, stage
    assert list((store/'checkpoints').glob('step-*.tar')), 'checkpoints go to Drive'
