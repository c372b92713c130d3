"A training process that is killed goes on as if nothing had happened."
import contextlib, io, json, os, random, shutil, signal, subprocess, sys, time
from pathlib import Path
import pytest
from medqa_nb.cli import main

SETTINGS = ['--set', 'training.max_steps=8', '--set', 'training.eval_steps=4', '--set', 'training.save_steps=2',
            '--set', 'training.effective_batch=4', '--set', 'training.max_length=96', '--set', 'gpu.profile=cpu']
COMMAND = [sys.executable, '-c', 'import sys; from medqa_nb.cli import main; sys.exit(main())']

def run(*args):
    "A command in this process; returns status, stdout, stderr"
    out,err = io.StringIO(),io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err): code = main([str(a) for a in args])
    return code, out.getvalue(), err.getvalue()

def losses(folder):
    lines = [json.loads(l) for l in (folder/'training/metrics.jsonl').read_text().splitlines()]
    return {o['step']:round(o['loss'], 6) for o in lines if 'loss' in o}

def steps_noted(folder):
    p = folder/'training/metrics.jsonl'
    return p.read_text().count('\n') if p.exists() else 0

@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    "A run trained without interruption, and a copy of it as it was before training"
    d = tmp_path_factory.mktemp('straight')
    code,_,err = run('data', '--run', d/'a', '--source', 'sample', *SETTINGS); assert code == 0, err
    code,_,err = run('augment', '--run', d/'a'); assert code == 0, err
    shutil.copytree(d/'a', d/'before')
    code,_,err = run('train', '--run', d/'a'); assert code == 0, err
    return d

def kill_after(folder, lines):
    "Start training, SIGKILL it once that many lines of metrics are written"
    p = subprocess.Popen([*COMMAND, 'train', '--run', str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 300
    while steps_noted(folder) < lines and p.poll() is None and time.time() < deadline: time.sleep(0.02)
    assert p.poll() is None, p.communicate()[1]
    p.send_signal(signal.SIGKILL); p.communicate()

def test_killed_twice_equals_straight(straight, tmp_path):
    "Killed at two moments chosen by a fixed seed, the losses are those of the straight run to six digits"
    d = tmp_path/'b'; shutil.copytree(straight/'before', d)
    first = random.Random(0).randint(3, 4)
    kill_after(d, first); kill_after(d, first + 2)
    code,out,err = run('train', '--run', d); assert code == 0, err
    report = json.loads((d/'training/report.json').read_text())
    assert report['resumed_from'] and report['steps'] == 8
    assert losses(d) == losses(straight/'a')
    assert json.loads((straight/'a/training/report.json').read_text())['best'] == report['best']

def test_damaged_checkpoints_are_passed_over(straight, tmp_path):
    "A cut tar, and a tar that is missing, are named; training goes on from the one before them"
    d = tmp_path/'c'; shutil.copytree(straight/'a', d)
    (d/'training/report.json').unlink()
    tars = sorted((d/'checkpoints').glob('*.tar'))
    assert len(tars) >= 2
    tars[-1].write_bytes(tars[-1].read_bytes()[:5000])
    code,out,err = run('train', '--run', d); assert code == 0, err
    assert f'{tars[-1].stem} on this machine is damaged' in out and f'going on from step {int(tars[-2].stem[5:])}' in out
    assert losses(d) == losses(straight/'a')
    for t in sorted((d/'checkpoints').glob('*.tar')): t.unlink()
    (d/'training/report.json').unlink()
    code,out,err = run('train', '--run', d); assert code == 0, err
    assert 'the tar is missing' in out and losses(d) == losses(straight/'a')

def test_finished_work_is_recognised(straight):
    "A second call takes no training step"
    before = (straight/'a/training/metrics.jsonl').stat().st_mtime_ns
    code,out,err = run('train', '--run', straight/'a'); assert code == 0, err
    assert (straight/'a/training/metrics.jsonl').stat().st_mtime_ns == before

def test_full_disk_is_one_line_and_resumable(straight, tmp_path):
    "On a disk that fills during a save, training stops in one line; with space it goes on to the same losses"
    if os.geteuid() or not shutil.which('unshare'): pytest.skip('needs root and unshare for a small disk')
    disk = tmp_path/'disk'; disk.mkdir()
    script = f"""
import os, shutil, sys
from pathlib import Path
from medqa_nb.cli import main
disk = Path({str(disk)!r})
if os.system(f'mount -t tmpfs -o size=3m none {{disk}}'): sys.exit(77)
shutil.copytree({str(straight/'before')!r}, disk/'r')
print('STATUS', main(['train', '--run', str(disk/'r')]), *(p.name for p in disk.rglob('*')), flush=True)
os.system(f'mount -o remount,size=200m {{disk}}')
code = main(['train', '--run', str(disk/'r')])
shutil.copy(disk/'r/training/metrics.jsonl', {str(tmp_path/'m')!r})
sys.exit(code)
"""
    p = subprocess.run(['unshare', '-m', sys.executable, '-c', script], capture_output=True, text=True, timeout=600)
    if p.returncode == 77: pytest.skip('this machine allows no mounts')
    assert 'STATUS 2' in p.stdout, p.stdout + p.stderr
    lines = [l for l in p.stderr.splitlines() if l.startswith('medqa:')]
    assert len(lines) == 1 and 'free some space' in lines[0], p.stderr
    assert '.part' not in p.stdout
    assert p.returncode == 0, p.stderr
    (tmp_path/'r/training').mkdir(parents=True); shutil.copy(tmp_path/'m', tmp_path/'r/training/metrics.jsonl')
    assert losses(tmp_path/'r') == losses(straight/'a')
