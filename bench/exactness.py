"""How far the gradients of the fused path and of the plain one are from float32, on the shape of Llama 3.1 8B in the types that training uses:

    python bench/exactness.py OUT.jsonl        bf16 with flash attention, fp16 without; without a GPU a small shape in fp32

One micro-batch of eight documents as long as MedQuAD's (at most 512 tokens), random NF4 weights, an adapter that has learned something. The error of a weight's gradient is the norm of
the difference by the norm of the float32 gradient, which the plain path computes with the same frozen weights. With random weights rounding grows from layer to layer as it does not in a trained model,
so the columns are to be compared with each other.
"""
import json, statistics, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
SMALL = dict(hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=1024)

def gradients(model, loss, scale): # Returns the loss and {name: gradient}
    (loss*scale).backward()
    g = {n:p.grad.clone() for n,p in model.named_parameters() if p.requires_grad}
    model.zero_grad(set_to_none=True)
    return loss.item(), g

def in_float32(model, dtype, back=False): # Model; the products' type; switch back?
    "Change the type of everything frozen; float32 holds sixteen bits exactly"
    import torch
    new,old = (dtype, torch.float32) if back else (torch.float32, dtype)
    for m in model.modules():
        if hasattr(m, 'quant_state') and getattr(m, 'compute_dtype', None) is not None: m.compute_dtype = new; m.weight.quant_state.dtype = new
    for p in model.parameters():
        if p.dtype == old and not p.requires_grad: p.data = p.data.to(new)

def measure(dtype, flash): # The products' type; with a flash kernel? Returns a list of results
    "All ways, against float32"
    import torch
    from eight_billion import docs, make
    from medqa_nb.core.documents import Row, learned, rectangle
    from medqa_nb.core.fused import Fused
    cuda = torch.cuda.is_available()
    device = 'cuda' if cuda else 'cpu'
    model = make(dtype, device, **({} if cuda else SMALL))
    d = docs(8, 512, 128000 if cuda else 1000)
    items,scale = learned(d),1024. if dtype == torch.float16 else 1. # as a gradient scaler would
    batch = {k:v.to(device) for k,v in rectangle(d).items()}
    def plain(): return model(**batch, num_items_in_batch=torch.tensor(items, device=device)).loss
    def amp():
        with torch.autocast(device, dtype, enabled=cuda): return plain()
    ways = {'plain path':amp, 'fused path':lambda: Fused(model, flash)(Row(d, device), items), 'no shared start':lambda: Fused(model, flash)(Row(d, device, False), items),
            'all layers recomputed':lambda: Fused(model, flash)(Row(d, device), items, 99)}
    ways.update({f'products in {k}':lambda k=k: Fused(model, flash, k)(Row(d, device), items) for k in ('float8_e4m3fn', 'int8') if dtype == torch.bfloat16 or k == 'int8'})
    found = {k:gradients(model, f(), scale) for k,f in ways.items()}
    in_float32(model, dtype)
    loss,want = gradients(model, plain(), scale)
    off = lambda g: sorted(((g[k] - want[k]).norm()/want[k].norm()).item() for k in want)
    return [dict(dtype=str(dtype)[6:], flash=flash, way=k, loss_off=abs(l/loss - 1), median=statistics.median(e := off(g)), worst=e[-1], weights=len(e)) for k,(l,g) in found.items()]

def main(out):
    import pandas as pd, torch
    pd.set_option('display.width', 200)
    rows = []
    for dtype,flash in ((torch.bfloat16, True), (torch.float16, False)) if torch.cuda.is_available() else ((torch.float32, False),):
        rows += measure(dtype, flash)
        if torch.cuda.is_available(): torch.cuda.empty_cache()
    Path(out).write_text(''.join(json.dumps(o) + '\n' for o in rows))
    print(pd.DataFrame(rows).to_string(index=False, formatters={k:'{:.1e}'.format for k in ('loss_off', 'median', 'worst')}))
    for t in dict.fromkeys(o['dtype'] for o in rows):
        a,b = (next(o['median'] for o in rows if o['dtype'] == t and o['way'] == k) for k in ('fused path', 'plain path'))
        if b: print(f'{t}: error of the fused path by that of the plain one: {a/b:.2f}')

if __name__ == '__main__': main(*sys.argv[1:])
