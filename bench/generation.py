"""Useful tokens a second of greedy answers on the shape of Llama 3.1 8B, ours and what people use, in one run on one GPU:

    python bench/generation.py run OUT.jsonl [MODE ...]     modes: see MODES; each is a process of its own, with its memory limited; what is in OUT is not run again
    python bench/generation.py table OUT.jsonl              the figures, ratios last

128 requests with prompts of 25 to 70 tokens; answers as long as MedQuAD's (log-normal, median 160, 8 to 512 tokens; drawn with the seed of shared sweeps), so 26,524 tokens are useful. All sides make exactly
these lengths. Weights are random. T4: 14.56 GiB and fp16, emulated. A static batch runs to its longest member.
"""
import json, math, os, random, statistics, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
MODES = {'ours, bf16, 39.4 GiB':dict(ours=True, keep=True, slots=128, gib=39.4), 'ours, NF4, 39.4 GiB':dict(ours=True, slots=128, gib=39.4), 'ours, NF4, T4':dict(ours=True, slots=64, gib=14.56, dtype='float16'),
         'generate, NF4, batches of 8':dict(batch=8, gib=39.4), 'generate, NF4, batches of 8, T4':dict(batch=8, gib=14.56, dtype='float16'), 'generate, NF4, batches of 64':dict(batch=64, gib=39.4),
         'continuous batching of transformers, bf16':dict(continuous=True)}

def requests(n=128): # Returns prompts and lengths of answers
    rng = random.Random(0)
    prompts = [[rng.randrange(10, 128000) for _ in range(rng.randint(25, 70))] for _ in range(n)]
    return prompts, [max(8, min(512, int(math.exp(rng.gauss(math.log(160), .75))))) for _ in range(n)]

def ours(model, o, prompts, lengths): # Returns a function that answers all
    from medqa_nb.core.decoding import Slots, decode
    slots = Slots(model, o['slots'], 70 + 512 + 16, flash=o.get('dtype') != 'float16', keep=o.get('keep', False))
    def run(lengths):
        out = dict(decode(slots, prompts, lengths, ()))
        assert [len(out[i]) for i in range(len(prompts))] == lengths
        return sum(lengths)
    return run

def static(model, size, prompts, lengths): # As `ours`; the first two batches only
    import torch
    def run(lengths):
        done = 0
        for at in range(0, 2*size, size):
            ids,n = prompts[at:at+size],lengths[at:at+size]
            x,mask = (torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long, device=model.device) for _ in 'xm')
            for i,p in enumerate(ids): x[i,-len(p):] = torch.tensor(p); mask[i,-len(p):] = 1
            model.generate(input_ids=x, attention_mask=mask, max_new_tokens=max(n), min_new_tokens=max(n), do_sample=False, pad_token_id=0)
            done += sum(n)
        return done
    return run

def continuous(model, prompts, lengths): # As `ours`
    from transformers import GenerationConfig
    g = GenerationConfig(max_new_tokens=512, do_sample=False, eos_token_id=-1, pad_token_id=0)
    def run(lengths):
        done = 0
        with model.continuous_batching_context_manager(generation_config=g) as m:
            for p,n in zip(prompts, lengths): m.add_request(p, max_new_tokens=n)
            left = len(prompts)
            while left:
                r = m.get_result(timeout=60)
                if r is not None and r.is_finished(): done += len(r.generated_tokens); left -= 1
        return done
    return run

def side(mode, repetitions='3'):
    "One mode: load, warm up, measure"
    import torch
    from eight_billion import make
    o,cuda = MODES[mode],torch.cuda.is_available()
    device = 'cuda' if cuda else 'cpu'
    small = {} if cuda else dict(hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=2000) # to see that the bench works
    if cuda and 'gib' in o: torch.cuda.set_per_process_memory_fraction(o['gib']*2**30/torch.cuda.get_device_properties(0).total_memory)
    dtype = getattr(torch, o.get('dtype', 'bfloat16') if cuda else 'float32')
    if o.get('dtype') == 'float16': torch.backends.cuda.enable_flash_sdp(False); torch.backends.cuda.enable_cudnn_sdp(False)
    model = make(dtype, device, **small).eval()
    if o.get('continuous'): model = bf16_model(dtype, device, small)
    prompts,lengths = requests() if cuda else ([[w % 2000 for w in p] for p in requests(8)[0]], [8 + n%24 for n in requests(8)[1]])
    if not cuda: o = {**o, 'slots':4, 'batch':4}
    run = ours(model, o, prompts, lengths) if o.get('ours') else continuous(model, prompts, lengths) if o.get('continuous') else static(model.get_base_model(), o['batch'], prompts, lengths)
    rates = []
    run(lengths if o.get('ours') else [min(8, k) for k in lengths]) # warm up
    for i in range(int(repetitions)):
        t = time.perf_counter()
        n = run(lengths)
        if cuda: torch.cuda.synchronize()
        rates.append(n/(time.perf_counter() - t))
    print('TELL ' + json.dumps(dict(mode=mode, rates=rates, peak_gib=torch.cuda.max_memory_allocated()/2**30 if cuda else 0)), flush=True)

def bf16_model(dtype, device, small): # Returns a model without quantisation, for transformers' continuous batching
    import torch
    from eight_billion import SHAPE
    from transformers import LlamaConfig, LlamaForCausalLM
    c = LlamaConfig(**{**SHAPE, **small}); c._attn_implementation = 'paged|sdpa'
    torch.set_default_dtype(dtype)
    with torch.device(device): return LlamaForCausalLM(c).eval()

def read(out): return [json.loads(l) for l in Path(out).read_text().splitlines()] if Path(out).exists() else []

def run(out, *modes):
    for m in modes or MODES:
        if m in [o['mode'] for o in read(out)]: continue
        slow = 'generate' in m or 'continuous' in m
        r = subprocess.run([sys.executable, __file__, 'side', m, '1' if slow else '3'], capture_output=True, text=True, env={**os.environ, 'PYTORCH_CUDA_ALLOC_CONF':'expandable_segments:True'})
        said = [l[5:] for l in r.stdout.splitlines() if l.startswith('TELL ')]
        o = json.loads(said[-1]) if said else dict(mode=m, rates=[], error=(r.stderr.strip().splitlines() or ['?'])[-1][:300])
        with open(out, 'a') as f: f.write(json.dumps(o) + '\n')
        print(m, o.get('error') or f'{statistics.median(o["rates"]):,.0f} tokens/s', flush=True)
    table(out)

def table(out):
    found = {o['mode']:(statistics.median(o['rates']), o['peak_gib']) for o in read(out) if o['rates']}
    for k,(v,g) in found.items(): print(f'{k:45} {v:>9,.0f} tokens/s {g:7.2f} GiB')
    for a,b in (('ours, bf16, 39.4 GiB', 'continuous batching of transformers, bf16'), ('ours, bf16, 39.4 GiB', 'generate, NF4, batches of 8'), ('ours, NF4, T4', 'generate, NF4, batches of 8, T4')):
        if a in found and b in found: print(f'{a}: {found[a][0]/found[b][0]:.1f} x {b}')

if __name__ == '__main__': dict(run=run, side=side, table=table)[sys.argv[1]](*sys.argv[2:])
