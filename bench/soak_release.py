"""Release and push killed with SIGKILL at random moments, against a hub on this machine:

    python bench/soak_release.py [RUNS [SEED]]

Each of RUNS runs (50) makes merged weights in ten files, a GGUF file and three repositories, and is killed once at a moment drawn over the whole time; before it is called again, the hub is looked at: every repository is empty or complete.
A run is good if the next call ends, every repository holds one commit, and all files are those of an uninterrupted run, byte for byte. Children are forked from one process that has imported everything.
"""
import hashlib, os, random, shutil, signal, sys, tempfile, time, traceback
from pathlib import Path

os.environ.update(OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false', TRANSFORMERS_VERBOSITY='error', HF_HUB_DISABLE_XET='1', HF_HUB_OFFLINE='0', HF_HUB_DISABLE_PROGRESS_BARS='1', TQDM_DISABLE='1')
sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'tests'))

def prepare(d): # A run with data and an adapter whose B is not zero
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM
    from medqa_nb.core.files import assets
    from medqa_nb.core.models import lora_config
    from medqa_nb.core.runs import Run
    from medqa_nb.data import build_data
    run = Run.open(str(d), config=str(assets('quick_config.yaml')), flags=dict(release=dict(name='Llama-tiny-medqa-lora', formats='merged,gguf', gguf='f16,q8_0', push='adapter,merged,gguf', shard_gib=.001)))
    build_data(run)
    torch.manual_seed(0)
    m = get_peft_model(AutoModelForCausalLM.from_pretrained(assets('tiny'), dtype=torch.float32), lora_config(run.config))
    for n,w in m.named_parameters():
        if 'lora_B' in n: torch.nn.init.normal_(w, std=.005)
    m.save_pretrained(run.path('training', 'adapter'))

def child(d, url): # Ends this process
    try:
        from huggingface_hub import HfApi
        from medqa_nb.core.config import Config, load_config
        from medqa_nb.core.runs import Run
        import medqa_nb.release as r
        r.reload_check = lambda run: None # the same each time, and slow
        r.release(Run(d, d, Config().update(load_config(d/'run.yaml'))), say=lambda s: None, api=HfApi(endpoint=url, token='hf_mine'))
    except BaseException: traceback.print_exc(); os._exit(1)
    os._exit(0)

def call(d, url, after=None): # Returns (how it ended, seconds)
    t0 = time.time()
    if not (pid := os.fork()): child(d, url)
    while True:
        done,status = os.waitpid(pid, os.WNOHANG)
        if done: return os.waitstatus_to_exitcode(status), time.time() - t0
        if after is not None and time.time() - t0 > after: os.kill(pid, signal.SIGKILL); return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), after
        time.sleep(.002)

def content(d): return {p.relative_to(d).as_posix():hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(d.rglob('*')) if p.is_file() and p.suffix in ('.safetensors', '.gguf')}

def main(runs='50', seed='0'):
    import subprocess, json
    rng,top = random.Random(int(seed)),Path(tempfile.mkdtemp(prefix='soak-release-'))
    server = subprocess.Popen([sys.executable, __file__, '--serve'], stdout=subprocess.PIPE, text=True)
    url = server.stdout.readline().strip()
    import urllib.request
    state = lambda new='': json.loads(urllib.request.urlopen(f'{url}/state{new}').read())
    try:
        prepare(top/'first')
        import gguf, bitsandbytes, pandas, huggingface_hub, peft, medqa_nb.core.gguf_file, medqa_nb.core.card, medqa_nb.core.report, medqa_nb.release
        shutil.copytree(top/'first', top/'whole'); state('?new')
        code,seconds = call(top/'whole', url)
        assert code == 0
        want,shown = content(top/'whole'),state()
        good,killed,stages = 0,0,{}
        for i in range(int(runs)):
            d = top/f'run{i}'
            shutil.copytree(top/'first', d); state('?new')
            after = rng.uniform(0, seconds)
            code,_ = call(d, url, after)
            killed += code == -9
            half = [n for n,o in state().items() if o['files'] and set(o['files']) != set(shown[n]['files'])]
            stage = f'{len(list(d.rglob("*.safetensors"))) - 1} weights, {len(list(d.rglob("*.gguf")))} gguf, {sum(bool(o["files"]) for o in state().values())} published'
            end,_ = call(d, url)
            now = state()
            ok = not half and end == 0 and content(d) == want and {n:o['files'] for n,o in now.items()} == {n:o['files'] for n,o in shown.items()} and all(o['commits'] == 1 for o in now.values()) and not list(d.rglob('.*.part'))
            good += ok
            if not ok: print(f'run {i}, killed after {after:.2f} s at {stage}: half {half}, then {end}, {now}', flush=True)
            stages[stage] = stages.get(stage, 0) + 1
            shutil.rmtree(d)
            if not (i + 1) % 5: print(f'{good} of {i+1} good, {killed} killed', flush=True)
        print(f'{good} of {runs} good; {killed} were killed within {seconds:.1f} s, at {len(stages)} different states'); print(stages)
    finally: server.terminate(); shutil.rmtree(top, ignore_errors=True)

def serve():
    import servers, json
    from urllib.parse import urlsplit
    def route(self, path, query, body):
        s = self.server
        if path == '/state':
            if 'new' in self.path: s.repos.clear(); s.lfs.clear()
            return self.answer(200, {n:dict(commits=o['commits'], files={f:hashlib.sha256(b).hexdigest() if servers.large(f) else '' for f,b in o['files'].items()}) for (_,n),o in s.repos.items()})
        servers.releases_route(self, path, query, body)
    with servers.serving(route, repos={}, lfs={}, tokens={'hf_mine':dict(name='me', type='user', orgs=[])}, damage=False, slow=.02) as s:
        print(s.url, flush=True)
        while True: time.sleep(1)

if __name__ == '__main__': serve() if sys.argv[1:] == ['--serve'] else main(*sys.argv[1:])
