"The stage notebooks run top to bottom, unchanged, in a plain kernel and in an emulated Colab (nbdev-test: test_project)."
import json, os, shutil, subprocess, sys
from pathlib import Path
import pytest

HERE = Path(__file__).resolve().parent
STAGES = ['data', 'augmentation', 'training', 'evaluation', 'comparison', 'release']
NAMES = [f'{i:02}_{s}' for i,s in enumerate(['setup', *STAGES])]
SECRETS = dict(HF_TOKEN='hf_planted_secret_0123456789', ANTHROPIC_API_KEY='sk-ant-planted-secret-0123456789')
QUICK = dict(MEDQA_CONFIG=str(HERE.parent/'medqa_nb/assets/quick_config.yaml'), HF_HUB_OFFLINE='1')

def start(args, wrap=(), **env):
    "A process that runs notebooks"
    clean = {k:v for k,v in os.environ.items() if k not in ('IN_TEST', 'MEDQA_ROOT', 'COLAB_RELEASE_TAG')}
    return subprocess.Popen([*wrap, sys.executable, str(HERE/'run_notebooks.py'), *args], env={**clean, **QUICK, **SECRETS, **env},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

def finish(p):
    "Wait for it; returns its output if all notebooks ran to their end without making up for a stage that should have been there"
    out = p.communicate(timeout=900)[0]
    assert p.returncode == 0 and ', made' not in out, out
    return out

def own_content(folder):
    "A command prefix under which /content is `folder`, or the reason why that cannot be had"
    if not shutil.which('unshare'): return None, 'there is no unshare'
    try: os.makedirs('/content', exist_ok=True)
    except OSError as e: return None, f'/content cannot be made: {e.strerror}'
    script = f'mount --bind "{folder}" /content && exec "$@"'
    wrap = ['unshare', '-m' if os.geteuid() == 0 else '-rm', 'bash', '-c', script, 'bash']
    p = subprocess.run([*wrap, 'true'], capture_output=True, text=True)
    return (wrap, None) if p.returncode == 0 else (None, p.stderr.strip())

@pytest.fixture(scope='module')
def colab(tmp_path_factory):
    "All stage notebooks in an emulated Colab, begun now and read later, so that both cores have work"
    content = tmp_path_factory.mktemp('content')
    wrap,reason = own_content(content)
    p = wrap and start(['--colab', *NAMES], wrap)
    yield content, reason, p
    if p: p.kill(); p.wait()

def leaks(root):
    "Files below `root` that hold a planted secret, whatever kind of file they are"
    return [str(p) for p in root.rglob('*') if p.is_file() and not p.is_symlink() and any(v.encode() in p.read_bytes() for v in SECRETS.values())]

def test_the_search_for_secrets_finds_one(tmp_path):
    (tmp_path/'a').mkdir(); (tmp_path/'a/log.bin').write_bytes(b'\0' + SECRETS['HF_TOKEN'].encode() + b'\0')
    assert leaks(tmp_path)

def reports(root): return {p.relative_to(root):p.stat().st_mtime_ns for p in root.rglob('report.json')}

def test_plain_kernel_twice(colab, tmp_path):
    "From nothing, then again in the same root: the second time everything is found done"
    finish(start(NAMES, MEDQA_ROOT=str(tmp_path)))
    first = reports(tmp_path)
    assert {p.parent.name for p in first} == set(STAGES)
    finish(start(NAMES, MEDQA_ROOT=str(tmp_path)))
    assert reports(tmp_path) == first, 'no stage was done again'
    assert not leaks(tmp_path), 'tokens in the environment reach no file of a run'

def test_emulated_colab(colab):
    "A fresh machine for each notebook; what one leaves on Drive, the next finds there"
    content,reason,p = colab
    if reason: pytest.skip(f'needs a /content of its own: {reason}')
    assert 'kernel 7.34.0 6.17.1 7.7.1' in finish(p)
    store = content/'drive/MyDrive/medqa_nb/first'
    snapshot = json.loads((store/'snapshot.json').read_text())
    assert not leaks(content)
    for stage in STAGES: assert (store/stage/'report.json').exists() and f'{stage}/report.json' in snapshot, stage
    assert list((store/'checkpoints').glob('step-*.tar')), 'checkpoints go to Drive'
