"""Merging at the shape of Llama 3.1 8B with random weights: memory of the host, time, what 16 bits lose.

    python bench/merge.py DIR [LAYERS]     merges on the processor: peak memory, seconds; then the usual way (load, merge, save) beside it at 4 layers. 32 GB on disk with 32 layers
    python bench/merge.py logits [LAYERS]  on a GPU: logits of the merged model against the adapter on its base

Peak memory is the largest resident set of a process of its own, libraries included. What was made in DIR is deleted at the end.
"""
import json, os, resource, shutil, subprocess, sys, time
from pathlib import Path

RANK = 16

def shapes(layers): # {tensor: shape} of the base
    from eight_billion import SHAPE as s
    h,f,kv = s['hidden_size'],s['intermediate_size'],s['hidden_size']//s['num_attention_heads']*s['num_key_value_heads']
    each = {'self_attn.q_proj':(h, h), 'self_attn.k_proj':(kv, h), 'self_attn.v_proj':(kv, h), 'self_attn.o_proj':(h, h), 'mlp.gate_proj':(f, h), 'mlp.up_proj':(f, h), 'mlp.down_proj':(h, f)}
    out = {'model.embed_tokens.weight':(s['vocab_size'], h)}
    for i in range(layers):
        out |= {f'model.layers.{i}.{n}.weight':o for n,o in each.items()} | {f'model.layers.{i}.{n}.weight':(h,) for n in ('input_layernorm', 'post_attention_layernorm')}
    return out | {'model.norm.weight':(h,), 'lm_head.weight':(s['vocab_size'], h)}

def make(folder, layers): # Writes base/ and adapter/, a tensor at a time
    import torch
    from eight_billion import SHAPE
    from medqa_nb.core.merging import write_tensors
    torch.manual_seed(0)
    noise = torch.randn(2**22 + 7919) # repeated: what takes memory and time does not depend on the numbers
    def random(shape, std):
        if len(shape) == 1: return torch.ones(shape)
        n = shape[0]*shape[1]
        return (noise*std).bfloat16().repeat(n//len(noise) + 1)[:n].reshape(shape)
    base,adapter,all_ = folder/'base',folder/'adapter',shapes(layers)
    base.mkdir(parents=True), adapter.mkdir()
    files,names = {},list(all_)
    for i in range(0, len(names), 75):
        part = {n:all_[n] for n in names[i:i+75]}
        write_tensors(base/f'model-{i}.safetensors', part, 'BF16', lambda n: random(part[n], .02))
        files |= {n:f'model-{i}.safetensors' for n in part}
    (base/'model.safetensors.index.json').write_text(json.dumps(dict(weight_map=files)))
    (base/'config.json').write_text(json.dumps(dict(SHAPE, model_type='llama', architectures=['LlamaForCausalLM'], num_hidden_layers=layers, dtype='bfloat16')))
    pairs = {}
    for n,s in all_.items():
        if n.endswith('_proj.weight'): pairs |= {f'base_model.model.{n.removesuffix(".weight")}.lora_A.weight':(RANK, s[1]), f'base_model.model.{n.removesuffix(".weight")}.lora_B.weight':(s[0], RANK)}
    write_tensors(adapter/'adapter_model.safetensors', pairs, 'F32', lambda n: torch.randn(pairs[n])*(.01 if 'lora_A' in n else .002))
    (adapter/'adapter_config.json').write_text(json.dumps(dict(peft_type='LORA', task_type='CAUSAL_LM', r=RANK, lora_alpha=2*RANK, lora_dropout=0., bias='none', target_modules=sorted({n.split('.')[-2] for n in all_ if n.endswith('_proj.weight')}))))

def ours(folder, into): # In a process of its own
    from medqa_nb.core.merging import merge
    r = merge(folder/'base', folder/'adapter', folder/f'merged-{into}', into, say=lambda s: None)
    return dict(rounding=sum(r['rounding'].values())/len(r['rounding']))

def usual(folder, _): # In a process of its own
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    m = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder/'base', dtype=torch.bfloat16), folder/'adapter').merge_and_unload()
    m.save_pretrained(folder/'usual', max_shard_size='4GB')
    return {}

def child(name, folder, into='original'): # Returns what it measured
    t0 = time.time()
    p = subprocess.run([sys.executable, __file__, '--child', name, str(folder), into], stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(p.stdout.splitlines()[-1]), seconds=round(time.time() - t0))

def logits(layers=32):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM
    from eight_billion import SHAPE
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    with torch.device('cuda'): m = LlamaForCausalLM(LlamaConfig(**{**SHAPE, 'num_hidden_layers':layers}))
    for p in m.parameters(): p.data = p.data.bfloat16().float() # a base as it is published
    m = get_peft_model(m, LoraConfig(r=RANK, lora_alpha=2*RANK, target_modules='all-linear', task_type='CAUSAL_LM')).eval()
    size = lambda n: m.get_submodule(n.rsplit('.lora_', 1)[0]).base_layer.weight
    x = torch.randint(0, 128000, (2, 256), device='cuda')
    def run(model):
        with torch.inference_mode(): return model(input_ids=x).logits.float()
    for strength in (.002, .01, .05): # size of the change, as a share of the weights'
        for n,p in m.named_parameters():
            if 'lora_B' in n:
                a = m.get_parameter(n.replace('lora_B', 'lora_A'))
                p.data = torch.randn_like(p)
                p.data *= strength*size(n).norm()/(2*(p.data@a.data).norm())
        beside = run(m)
        m.merge_adapter()
        exact,kept,moved,lost = run(m),{},0.,0.
        for n,p in m.named_parameters():
            if n.endswith('base_layer.weight'):
                kept[n] = p.data
                p.data = p.data.bfloat16().float()
        rounded = run(m)
        for n,p in m.named_parameters():
            if n in kept: p.data = kept.pop(n)
        m.unmerge_adapter()
        with m.disable_adapter(): base = run(m)
        off = lambda a: ((a - beside).norm()/beside.norm()).item()
        agree = (rounded.argmax(-1) == beside.argmax(-1)).float().mean().item()
        print(f'change of {strength:.1%} of the weights: logits merged in float32 {off(exact):.1e}, rounded to bf16 {off(rounded):.1e} of their size (the adapter moves them by {off(base):.1e}); same first choice {agree:.2%}', flush=True)
        for n,p in m.named_parameters():
            if n.endswith('base_layer.weight'): p.data = p.data.bfloat16().float()

def main(folder, layers='32'):
    folder,few = Path(folder)/'merge-bench',4
    shutil.rmtree(folder, ignore_errors=True)
    need = (2*2.1 + int(layers)*.44*2)*1e9
    if (free := shutil.disk_usage(folder.parent).free) < 1.1*need: sys.exit(f'{folder.parent} has {free/1e9:.0f} GB free, {need/1e9:.0f} are needed')
    try:
        for n,names in ((int(layers), ('ours',)), (few, ('ours', 'usual'))):
            t0 = time.time(); make(folder, n)
            size = sum(p.stat().st_size for p in (folder/'base').glob('*.safetensors'))/2**30
            print(f'{n} layers, {size:.1f} GiB of weights made in {time.time()-t0:.0f} s', flush=True)
            got = {}
            for name in names:
                for into in (('original', 'dequantised') if name == 'ours' else ('original',)):
                    got[name, into] = r = child(name, folder, into)
                    print(f'  {name}, {into}: peak {r["gib"]:.2f} GiB of host memory, {r["seconds"]} s' + (f'; rounding to bf16 loses {r["rounding"]:.1%} of the change' if 'rounding' in r else ''), flush=True)
                    for o in ('merged-original', 'merged-dequantised', 'usual'): shutil.rmtree(folder/o, ignore_errors=True)
            if len(names) > 1: print(f'  ratio usual/ours: {got["usual", "original"]["gib"]/got["ours", "original"]["gib"]:.1f} in memory')
            shutil.rmtree(folder)
    finally: shutil.rmtree(folder, ignore_errors=True)

if __name__ == '__main__':
    if sys.argv[1] == '--child':
        r = dict(ours=ours, usual=usual)[sys.argv[2]](Path(sys.argv[3]), sys.argv[4])
        print(json.dumps(dict(r, gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20)))
    elif sys.argv[1] == 'logits': logits(*map(int, sys.argv[2:]))
    else: main(*sys.argv[1:])
