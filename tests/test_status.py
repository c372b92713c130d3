"`medqa status` and the board draw what stages leave in their folders, whoever writes it and however it ends."
import json, time
import pytest
from medqa_nb.cli import main
from medqa_nb.core.live import Board, Live, live_html, stage_progress
from medqa_nb.core.runs import Run

@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv('MEDQA_ROOT', str(tmp_path))
    return Run.open('r')

def tell(run, stage, **kw):
    p = run.path(stage, 'progress.json'); p.parent.mkdir(exist_ok=True)
    p.write_text(json.dumps(dict(state='working', done=3, total=10, unit='rows', lines=['batch 1 of 2'], time=time.time()) | kw))

@pytest.mark.parametrize('stage', ['augmentation', 'evaluation', 'comparison'])
def test_every_stage_is_drawn(run, stage, capsys):
    tell(run, stage)
    assert main(['status', '--run', 'r']) == 0
    line = next(l for l in capsys.readouterr().out.splitlines() if l.startswith(stage))
    assert '███████·' in line and 'working, 3 of 10 rows' in line
    page = Board(run)._repr_html_()
    assert 'batch 1 of 2' in page and 'aria-valuenow="30"' in page and 'batch 1 of 2' in live_html(run.path(stage))

def test_states(run):
    for kw,state in ((dict(state='waiting'), 'waiting'), (dict(state='stopped'), 'stopped'), (dict(time=time.time() - 3600), 'silent'), (dict(total=None), 'working'), (dict(done=None, total=None), 'working')):
        tell(run, 'evaluation', **kw); assert stage_progress(run.path('evaluation'))['state'] == state
    run.path('evaluation', 'report.json').write_text('{}')
    assert stage_progress(run.path('evaluation'))['state'] == 'done' and str(Board(run)).count('done') == 1

def test_half_written_and_foreign_words(run):
    "A file that is being written shows nothing wrong; what a stage says is never taken for HTML"
    tell(run, 'evaluation'); run.path('evaluation', 'progress.json').write_text('{"state": "wor')
    assert stage_progress(run.path('evaluation'))['state'] == 'to do'
    tell(run, 'evaluation', lines=['<script>alert(1)</script>'])
    assert '<script>' not in Board(run)._repr_html_()

def test_watching_ends_with_the_work(run, capsys, monkeypatch):
    tell(run, 'evaluation')
    monkeypatch.setattr(time, 'sleep', lambda s: tell(run, 'evaluation', state='stopped'))
    assert main(['status', '--run', 'r', '--watch', '1']) == 0
    assert 'stopped, 3 of 10 rows' in capsys.readouterr().out
