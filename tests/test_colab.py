"What is different on Colab, with the stand-in for google.colab: Drive, secrets, giving the machine back."
import os, shutil, subprocess, sys
from pathlib import Path
import pytest
from medqa_nb.core import colab, runs
from medqa_nb.core.files import MedqaError

STUBS = Path(__file__).resolve().parents[1]/'stubs/google-colab-stubs'

@pytest.fixture
def content(monkeypatch, tmp_path):
    "Colab's environment, with a folder of the test's own as /content"
    for k in ('MEDQA_ROOT', 'HF_TOKEN', 'IN_TEST'): monkeypatch.delenv(k, raising=False)
    monkeypatch.setenv('COLAB_RELEASE_TAG', 'emulated')
    monkeypatch.syspath_prepend(STUBS)
    for m in (colab, runs): monkeypatch.setattr(m, 'content', lambda: tmp_path)
    yield tmp_path
    os.environ.pop('HF_TOKEN', None)

def test_runs_are_kept_on_drive(content):
    assert runs.store_root() == content/'runs'
    assert colab.mount_drive() == content/'drive/MyDrive/medqa_nb' == runs.store_root()
    run = colab.begin('mine')
    assert (run.local, run.store) == (content/'runs/mine', content/'drive/MyDrive/medqa_nb/mine')
    assert (run.store/'run.yaml').exists()

def test_without_drive_the_run_stays_here_and_that_is_said(content, capsys):
    (content/'drive').mkdir(); (content/'drive/left').write_text('x')
    assert colab.begin('mine').store == content/'runs/mine'
    assert 'is lost with it' in capsys.readouterr().out

def test_secret_comes_from_colab(content, monkeypatch, capsys):
    monkeypatch.setenv('COLAB_SECRET_HF_TOKEN', 'hf_of_colab\n')
    assert colab.secret('HF_TOKEN') == os.environ['HF_TOKEN'] == 'hf_of_colab'
    os.environ.pop('HF_TOKEN'); colab.begin('mine')
    assert os.environ['HF_TOKEN'] == 'hf_of_colab', 'jobs inherit it'
    assert 'hf_of_colab' not in capsys.readouterr().out

@pytest.mark.parametrize('answer', [None, '<denied>', '<timeout>'])
def test_missing_secret_is_one_line(content, monkeypatch, answer):
    if answer: monkeypatch.setenv('COLAB_SECRET_HF_TOKEN', answer)
    assert colab.secret('HF_TOKEN', required=False) is None
    with pytest.raises(MedqaError, match='HF_TOKEN is missing: set it in Colab'): colab.secret('HF_TOKEN')

def test_the_machine_is_given_back(content):
    from google.colab import runtime
    before = runtime.unassigned
    assert colab.release_gpu() and runtime.unassigned == before + 1

def test_stubs_install_beside_other_google_packages(tmp_path):
    "The built package is typed and has no google/__init__.py, so that google.protobuf can still be imported"
    site,source = tmp_path/'site',shutil.copytree(STUBS, tmp_path/'source')
    subprocess.run([sys.executable, '-m', 'pip', 'install', '-qq', '--no-deps', '--target', site, source], check=True)
    assert (site/'google/colab/py.typed').exists() and not (site/'google/__init__.py').exists()
    code = 'from google.colab import drive, userdata; import google.protobuf; drive.mount("/content/drive")'
    p = subprocess.run([sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH':str(site)}, capture_output=True, text=True)
    assert 'NotImplementedError' in p.stderr, p.stderr
