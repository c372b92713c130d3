"What a form must survive: widgets that are answered in many threads at once."
from concurrent.futures import ThreadPoolExecutor
from medqa_nb.core.config import fields
from medqa_nb.core.forms import Form
from medqa_nb.core.runs import Run

def test_many_threads(monkeypatch, tmp_path):
    "Twelve settings changed at once by as many threads, over and over: none is lost, neither in memory nor in run.yaml"
    monkeypatch.setenv('MEDQA_ROOT', str(tmp_path))
    run = Run.open('r')
    form = Form(run, 'training', 'evaluation', listen=lambda r: 'fine')
    fs = [f for s in ('training', 'evaluation') for f in fields(s) if f.kind == 'whole'][:12]
    for i in range(1, 6):
        with ThreadPoolExecutor(12) as pool: list(pool.map(lambda f: form.change(f, f.low + i), fs))
        again = Run.open('r').config
        assert all(getattr(getattr(c, f.section), f.name) == f.low + i for c in (run.config, again) for f in fs)
