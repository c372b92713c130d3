"""A model of the shape of Llama 3.1 8B with random NF4 weights, made in place on the device (imported by the other benches)."""
import torch

SHAPE = dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, vocab_size=128256,
             max_position_embeddings=131072, rms_norm_eps=1e-5, tie_word_embeddings=False,
             rope_parameters=dict(rope_type='llama3', rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192))

def make(dtype, device='cuda', rank=32, seed=0, quantised=True, **shape):
    "A `PeftModel` with an adapter on all linear layers, B not zero"
    import bitsandbytes as bnb
    from bitsandbytes.functional import quantize_4bit
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
    torch.manual_seed(seed)
    c = LlamaConfig(**{**SHAPE, **shape}); c._attn_implementation = 'sdpa'
    with torch.device('meta'): model = LlamaForCausalLM(c).to(dtype)
    for name,o in list(model.named_modules()):
        if type(o) is not torch.nn.Linear or name == 'lm_head' or not quantised: continue
        q = bnb.nn.Linear4bit(o.in_features, o.out_features, bias=False, compute_dtype=dtype, quant_type='nf4', compress_statistics=True, device='meta')
        w,s = quantize_4bit(torch.randn(o.out_features, o.in_features, device=device, dtype=dtype)*.02, quant_type='nf4', compress_statistics=True)
        q.weight = bnb.nn.Params4bit(w, requires_grad=False, quant_state=s, bnb_quantized=True, module=q); q.quant_state = s
        parent,leaf = name.rsplit('.', 1)
        setattr(model.get_submodule(parent), leaf, q)
    for name,p in list(model.named_parameters()):
        if p.device.type != 'meta': continue
        parent,leaf = name.rsplit('.', 1)
        w = torch.ones(p.shape, device=device, dtype=dtype) if 'norm' in name else torch.randn(p.shape, device=device, dtype=dtype)*.02
        setattr(model.get_submodule(parent), leaf, torch.nn.Parameter(w, requires_grad=False))
    model.model.rotary_emb = LlamaRotaryEmbedding(c).to(device)
    model = get_peft_model(model.requires_grad_(False), LoraConfig(r=rank, lora_alpha=2*rank, target_modules='all-linear', task_type='CAUSAL_LM'))
    for n,p in model.named_parameters():
        if p.requires_grad: p.data = (torch.randn(p.shape, device=device)*.01 if 'lora_B' in n else p.data.to(device)).float()
    return model.train()

TYPICAL = ((0, 59), (10, 98), (20, 125), (30, 159), (40, 192), (50, 224), (60, 259), (70, 308), (80, 393), (90, 564), (95, 806), (97, 1114), (98, 1445), (99, 2027), (100, 6054))

def docs(n, longest=1024, vocabulary=128000, seed=0, dense=False, start=30):
    "`n` documents as long as MedQuAD's (percentiles counted in core.planner), the question's share without labels and the template's 30 tokens before it; or all of the full length"
    import numpy as np
    rng = np.random.default_rng(seed)
    lengths = np.full(n, longest) if dense else np.minimum(np.interp(rng.random(n)*100, *zip(*TYPICAL)), longest).astype(int)
    ids = [torch.from_numpy(rng.integers(10, vocabulary, k)) for k in lengths]
    if not dense:
        for o in ids: o[:start] = torch.arange(10, 10 + start)
    return [(i, i if dense else torch.where(torch.arange(len(i)) < min(50, len(i)//2), -100, i)) for i in ids]
