"""Other ways to compute the same micro-batch, beside ours: launches recorded as a CUDA graph, layers compiled one by one, a base in sixteen bits, products in eight:

    python bench/ways.py OUT.jsonl [PROFILES]     on a GPU; rows of 1,024 tokens, about as many as the planner gives a card of the profile (t4,l4,h100), medians of ten turns

Nothing is read back between two micro-batches, as in training. A graph repeats exactly our launches, so it shows all that can be won from the host. The shape is that of Llama 3.1 8B, weights are random
(NF4 where nothing else is said), rank 32. Memory is not limited; "t4" is fp16 without flash kernels and without Triton's matrix products. What is in OUT is not run again.
The peak of the recorded way leaves out what the graph itself holds.
"""
import json, statistics, sys, time
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))
from medqa_nb.core.augmented import Open

SIZES = dict(t4=(2, 'float16', False), l4=(4, 'bfloat16', True), h100=(8, 'bfloat16', True)) # rows; type of the products; a flash kernel?

class Whole(Open):
    "A base in sixteen bits where it lies: nothing is copied, so each linear layer is a product of its own, and the adapters add to what it wrote"
    def __init__(self, k, space):
        self.k,n = k,k.outputs*k.extra
        self.b,self.a = space[:n].view(k.outputs, k.extra),space[n:n+k.extra*k.inputs].view(k.extra, k.inputs)
        if k.extra: k.narrow(self.b, self.a)
    @staticmethod
    def columns(k): return k.outputs
    def parts(self, y): # [tokens, outputs]; returns (weight, its columns of y) of each linear layer
        return zip((o.weight for o in self.k.linears), y.split([o.outputs for o in self.k.linears], 1))
    def forward(self, wide, add=None, out=None): return self.apart(wide[:,:self.k.inputs], wide[:,self.k.inputs:], add, out)
    def apart(self, x, u, add=None, out=None):
        import torch
        y = x.new_empty(len(x), self.k.outputs) if out is None else out
        for w,part in self.parts(y): torch.mm(x, w.T, out=part)
        if add is not None: y += add
        return y.addmm_(u, self.b.T) if self.k.extra else y
    def back(self, dy):
        dx = None
        for w,part in self.parts(dy): dx = part@w if dx is None else dx.addmm_(part, w)
        v = dy@self.b
        return dx.addmm_(v, self.a) if self.k.extra else dx, v

def timed(f, n=10, each=3): # A function; turns; calls in one. Returns milliseconds of a call, the median
    import torch
    out = []
    for _ in range(n):
        torch.cuda.synchronize(); begin = time.perf_counter()
        for _ in range(each): f()
        torch.cuda.synchronize(); out.append(1e3*(time.perf_counter() - begin)/each)
    return statistics.median(out)

def recorded(step): # A function that adds up gradients; returns one that repeats its launches
    import torch
    side = torch.cuda.Stream(); side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2): step()
    torch.cuda.current_stream().wait_stream(side)
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g): step()
    return g.replay

def measure(profile, done, path): # Name; results so far; file to add to
    import torch
    from eight_billion import docs, make
    from medqa_nb.core import kernels
    from medqa_nb.core.documents import Row, learned, rectangle
    from medqa_nb.core.fused import Fused
    rows,dtype,flash = SIZES[profile]
    dtype = getattr(torch, dtype)
    torch.backends.cuda.enable_flash_sdp(flash); torch.backends.cuda.enable_cudnn_sdp(flash)
    d,had = docs(rows, dense=True),{o['way'] for o in done if o['profile'] == profile}
    items,row = learned(d),Row(d, 'cuda')
    def note(way, f, model, want=None): # Name; what adds up gradients; model; gradient to compare with. Returns the gradient
        trained = [p for p in model.parameters() if p.requires_grad]
        if way in had and want is not None: return
        for p in trained: p.grad = torch.zeros_like(p) if p.grad is None else p.grad.zero_() # in place: a graph writes where it was recorded
        torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
        try:
            begin = time.perf_counter(); f(); torch.cuda.synchronize(); first = time.perf_counter() - begin
            got = torch.cat([p.grad.flatten() for p in trained])
            if way in had: return got
            o = dict(ms=round(timed(f), 1), off=None if want is None else ((got - want).norm()/want.norm()).item(), first_seconds=round(first, 1))
        except torch.OutOfMemoryError: o,got = dict(error='out of memory'),None
        done.append(dict(profile=profile, rows=rows, way=way, **o, peak_gib=round(torch.cuda.max_memory_allocated()/2**30, 1), device=torch.cuda.get_device_name(0), torch=torch.__version__))
        with open(path, 'a') as out: out.write(json.dumps(done[-1]) + '\n')
        print(done[-1], flush=True)
        return got
    def ours(model, eight=None, how=None): # Returns what adds up gradients
        path = Fused(model, flash, eight)
        if how: path.open = how
        path.bring(row); start = row.embedded
        def step():
            row.embedded = start
            path.prepare(row)
            path(row, items).backward()
        return step
    model = make(dtype)
    step = ours(model)
    want = note('ours', step, model)
    if (way := 'ours, recorded as a graph') not in had: note(way, recorded(step), model, want)
    for kind in ('float8_e4m3fn', 'int8') if flash else (): note(f'ours, products in {kind}', ours(model, kind), model, want)
    with patch.object(kernels, 'triton_multiplies', lambda device: False): note('ours, products in int8 by torch', ours(model, 'int8'), model, want)
    batch,n = {k:v.to('cuda') for k,v in rectangle(d).items()},torch.tensor(items, device='cuda')
    model.config.use_cache = False # as a trainer does
    def plain():
        with torch.autocast('cuda', dtype): loss = model(**batch, num_items_in_batch=n).loss
        loss.backward()
    if rows <= 4: # else it does not fit
        note('plain', plain, model, want)
        for o in model.get_base_model().model.layers: o.compile()
        note('plain, layers compiled', plain, model, want)
    del model, step, plain, batch
    model = make(dtype, quantised=False)
    want = note('ours, base in 16 bits, copied', ours(model), model)
    note('ours, base in 16 bits, where it lies', ours(model, how=Whole), model, want)

def main(out, profiles='t4,l4,h100'):
    import pandas as pd
    pd.set_option('display.width', 200)
    path = Path(out)
    done = [json.loads(l) for l in path.read_text().splitlines()] if path.exists() else []
    for p in profiles.split(','):
        if (p, 'ours, base in 16 bits, where it lies') not in [(o['profile'], o['way']) for o in done]: measure(p, done, path)
    ms = {(o['profile'], o['way']):o.get('ms') for o in done}
    print(pd.DataFrame([{**o, 'times ours':o.get('ms') and round(ms[o['profile'], 'ours']/o['ms'], 2)} for o in done]).drop(columns='torch').to_string(index=False))
    for p in profiles.split(','): print(f'{p}: ' + '; '.join(f'{ms[p, "ours"]/v:.2f} x {w}' for (q,w),v in ms.items() if q == p and v and w != 'ours'))

if __name__ == '__main__': main(*sys.argv[1:])
