"What somebody does who has not read the code: looks, mistypes, deletes what was called damaged, presses Ctrl-C, brings a table with holes."
import os, signal, subprocess, sys, time
import pytest
from medqa_nb.cli import main
from medqa_nb.core.config import load_config
from medqa_nb.core.files import MedqaError, read_table, sha256, write_json
from medqa_nb.core.runs import Run, current_run, homes

@pytest.fixture
def root(tmp_path, monkeypatch):
    "A root of its own, quick jobs"
    from medqa_nb.core.files import assets
    monkeypatch.setenv('MEDQA_ROOT', str(tmp_path))
    monkeypatch.setenv('MEDQA_CONFIG', str(assets('quick_config.yaml')))
    return tmp_path

@pytest.fixture
def made(root):
    "A run with data and added rows"
    assert main(['data', '--run', 'mine', '--source', 'sample']) == 0
    assert main(['augment', '--run', 'mine']) == 0
    return root/'mine'

@pytest.mark.parametrize('words', [['plan', '--run', 'mine', '--gpu', 't4'], ['doctor', '--run', 'mine', '--set', 'lora.rank=64'], ['status', '--run', 'mine', '--set', 'lora.rank=64']])
def test_looking_writes_nothing(made, words, capsys):
    files = {p:p.stat().st_mtime_ns for p in made.rglob('*')} | {made.parent/'current':(made.parent/'current').read_text()}
    main(words)
    assert files == {p:p.stat().st_mtime_ns for p in made.rglob('*')} | {made.parent/'current':(made.parent/'current').read_text()}
    assert main(['plan', '--run', 'nobody']) == 0 and not (made.parent/'nobody').exists() and main(['doctor', '--run', 'nobody']) == 2 and current_run() == 'mine'

def test_refused_settings_are_taken_back(made, capsys):
    was = load_config(made/'run.yaml')
    assert main(['augment', '--run', 'mine', '--set', 'augmentation.share=0.9']) == 2
    assert load_config(made/'run.yaml') == was and '(run.yaml has augmentation.share as before)' in capsys.readouterr().err
    assert main(['augment', '--run', 'mine']) == 0

def test_what_was_deleted_is_made_again(made):
    for name in ('data/train.parquet', 'augmentation/rows.parquet'):
        p,h = made/name,sha256(made/name)
        p.unlink()
        assert main([('data', 'augment')[name.startswith('aug')], '--run', 'mine']) == 0 and sha256(p) == h

def test_rows_without_a_question(root):
    (root/'faq.csv').write_text('question,answer\n' + ''.join(f'{"What is condition number " + str(i) + "?" if i%2 else ""},"It is a thing of number {i} that has quite some words, and more {i*7}."\n' for i in range(60)))
    assert main(['data', '--run', 'faq', '--source', f'csv:{root}/faq.csv']) == 0
    rows = [q for s in ('train', 'validation', 'test') for q in read_table(root/'faq'/'data'/f'{s}.parquet').question]
    assert len(rows) == 30 and all('number' in q for q in rows)

def test_settings_files(root):
    def says(text):
        (root/'x.yaml').write_text(text)
        with pytest.raises(MedqaError) as e: load_config(root/'x.yaml')
        return str(e.value)
    assert 'is empty' in says('') and 'lora stands there twice' in says('lora: {rank: 4}\nlora: {alpha: 8}\n') and 'rank stands there twice' in says('lora: {rank: 4, rank: 8}')
    for name in ('current', 'x'*101):
        with pytest.raises(MedqaError, match='take another'): homes(name)
    Run.open('one', flags=dict(lora=dict(rank=8)))
    Run.open('two')
    assert Run.open(config=str(root/'one'/'run.yaml')).name == 'one', 'a settings file that names a run means that one'

def test_another_machine_is_told(made, capsys):
    write_json(made/'lease.json', dict(machine='elsewhere', time=time.time() - 60))
    for words in (['status', '--run', 'mine'], ['augment', '--run', 'mine']):
        assert main(words) == 0 and 'another machine (elsewhere) used this run' in capsys.readouterr().err

def medqa(*words, **kw): return subprocess.Popen([sys.executable, '-c', 'import sys; from medqa_nb.cli import main; sys.exit(main())', *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)

def test_streams(made):
    "A reader that has gone, a terminal without the signs, a watch without time"
    p = medqa('plan', '--run', 'mine'); p.stdout.close()
    assert p.wait(60) in (0, 141) and b'Traceback' not in p.stderr.read()
    out,err = medqa('status', '--run', 'mine', env={**os.environ, 'PYTHONIOENCODING':'ascii'}).communicate(timeout=60)
    assert b'Traceback' not in err and b'data' in out
    assert main(['status', '--run', 'mine', '--watch', '-1']) == 2

def test_ctrl_c_saves(made):
    p = medqa('train', '--run', 'mine', '--set', 'training.max_steps=400', '--set', 'training.save_steps=400', '--set', 'training.eval_steps=400')
    log = made/'training'/'metrics.jsonl'
    end = time.time() + 120
    while time.time() < end and not (log.exists() and len(log.read_text().splitlines()) > 3) and p.poll() is None: time.sleep(.1)
    p.send_signal(signal.SIGINT)
    _,err = p.communicate(timeout=60)
    assert p.returncode == 2 and b'saved at step' in err, err
    assert any((made/'checkpoints').iterdir())
