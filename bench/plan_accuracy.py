"""Predicted against measured peak memory, and tokens a second, of our training path:

    python bench/plan_accuracy.py settings OUT.jsonl    twenty settings over rank, length, micro-batch and recomputed layers
    python bench/plan_accuracy.py options OUT.jsonl     DoRA, fewer targets, embedding and head trained whole
    python bench/plan_accuracy.py profiles OUT.jsonl    each card's own plan for full sequences, within that card's memory (emulated on this GPU)

The model has the exact shape of Llama 3.1 8B and random weights (memory and speed depend on shape and type, not on what the weights
know), NF4 with double quantisation. Each setting is measured over five optimizer steps on full sequences; settings that are in OUT
are not measured again. Without a GPU the tiny shape shows that the bench works; its numbers mean nothing.
"""
import gc, json, statistics, subprocess, sys, tempfile, time
from functools import partial
from pathlib import Path

# rank, max_length, micro-batch, recomputed layers
SETTINGS = [(16, 1024, 8, 32), (16, 1024, 8, 0), (16, 1024, 1, 0), (16, 1024, 2, 0), (16, 1024, 4, 0), (8, 1024, 4, 16), (64, 1024, 4, 16),
            (64, 1024, 8, 32), (8, 512, 16, 32), (16, 512, 8, 0), (32, 512, 1, 0), (32, 2048, 2, 0), (16, 2048, 4, 24), (32, 4096, 1, 0),
            (8, 4096, 4, 32), (64, 4096, 1, 16), (16, 1024, 16, 32), (16, 1024, 16, 8), (32, 512, 16, 0), (16, 2048, 1, 8)]

# the same, with other settings of the adapter
OPTIONS = [(16, 1024, 1, 0, dict(dora=True)), (16, 1024, 4, 32, dict(dora=True)), (16, 1024, 2, 16, dict(dora=True)), (64, 1024, 2, 32, dict(dora=True)),
           (16, 1024, 2, 0, dict(target_modules='q_proj,v_proj')), (16, 1024, 4, 32, dict(target_modules='q_proj,v_proj')),
           (16, 1024, 2, 32, dict(modules_to_save=['lm_head'])), (16, 1024, 2, 32, dict(modules_to_save=['embed_tokens', 'lm_head'])),
           (16, 1024, 8, 16, dict(modules_to_save=['lm_head']))]

TINY = dict(hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, vocab_size=2048,
            tie_word_embeddings=False)

def random_base(shape, dtype, device): # Shape; torch.dtype; device; returns a model in NF4
    "A Llama of random weights, quantised on its way in as a real one is"
    import torch
    from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM
    config = LlamaConfig(**shape, max_position_embeddings=8192, rope_theta=500000.0, pad_token_id=0, bos_token_id=0, eos_token_id=1)
    with torch.device('meta'): names = {k:v.shape for k,v in LlamaForCausalLM(config).state_dict().items()}
    torch.manual_seed(0)
    state = {k:torch.randn(v, dtype=dtype, device=device)*0.02 if len(v) > 1 else torch.ones(v, dtype=dtype, device=device) for k,v in names.items()}
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)
    return LlamaForCausalLM.from_pretrained(None, config=config, state_dict=state, dtype=dtype, quantization_config=nf4, device_map={'':device},
                                            attn_implementation='sdpa')

def dense_rows(n, length, vocab): # Rows; tokens in each; size of the vocabulary
    "Full sequences of random tokens, all of them counted in the loss"
    import torch
    from datasets import Dataset
    ids = torch.randint(10, vocab - 10, (n, length), generator=torch.Generator().manual_seed(0)).tolist()
    return Dataset.from_dict(dict(input_ids=ids, labels=ids))

def measure(model, shape, cfg, plan, device, steps=5): # Returns a dict, and the model without the adapter
    "Peak memory and speed of a plan with our trainer"
    import torch
    from trl import SFTTrainer
    from medqa_nb.core.chat import load_tokenizer
    from medqa_nb.core.files import assets
    from medqa_nb.core.models import lora_config
    from medqa_nb.core.steps import float_adapter, recompute_first, sft_config
    cuda,t,out = device != 'cpu',cfg.training,{}
    with tempfile.TemporaryDirectory() as d:
        args = sft_config(cfg, plan, d)
        args.dataset_kwargs,args.eval_strategy,args.save_strategy,args.max_steps = dict(skip_prepare_dataset=True),'no','no',steps
        trainer = SFTTrainer(model=model, args=args, train_dataset=dense_rows(t.effective_batch*steps, t.max_length, shape['vocab_size']),
                             processing_class=load_tokenizer(assets('tiny')), peft_config=lora_config(cfg))
        float_adapter(trainer.model)
        trainer.add_callback(recompute_first(plan['checkpointed_layers']))
        ends = clock(trainer, cuda)
        if cuda: torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
        try: trainer.train()
        except torch.OutOfMemoryError: out['error'] = 'out of memory'
        if cuda: out.update(allocated_gib=torch.cuda.max_memory_allocated()/2**30, reserved_gib=torch.cuda.max_memory_reserved()/2**30)
        took = [b-a for a,b in zip(ends, ends[1:])][1:]
        if took: out.update(tokens_per_second=t.effective_batch*t.max_length/statistics.median(took), spread=[min(took), max(took)],
                            loss=trainer.state.log_history[0].get('loss'))
        base = trainer.model.unload()
        del trainer; gc.collect()
        if cuda: torch.cuda.empty_cache()
    return out, base

def of_setting(cuda, rank, length, batch, recomputed, lora={}): # Returns settings and plan
    "One of SETTINGS or OPTIONS, without accumulation"
    from medqa_nb.core.config import Config
    name = 'h100' if cuda else 'cpu'
    cfg = Config().update(dict(gpu=dict(profile=name), lora=dict(rank=rank, alpha=2*rank, **lora),
                               training=dict(max_length=length, effective_batch=batch)))
    return cfg, dict(dtype='bfloat16' if cuda else 'float32', gpu=name, per_device_batch=batch, accumulation=1, checkpointed_layers=recomputed)

def clock(trainer, cuda): # Returns a list that fills with the times at which steps end
    "Note when steps end, with the card's work done"
    import torch
    from transformers import TrainerCallback
    ends = []
    class Clock(TrainerCallback):
        def on_step_end(self, *args, **kw):
            if cuda: torch.cuda.synchronize()
            ends.append(time.perf_counter())
    trainer.add_callback(Clock())
    return ends

def note(path, done, o): # File; list; what was measured
    "Keep a result"
    done.append(o); print(json.dumps(o), flush=True)
    with open(path, 'a') as f: f.write(json.dumps(o) + '\n')

def settings(path, done, cuda, which=SETTINGS): # File of results; results that are there; is there a GPU?; what to measure
    "Measure settings"
    import torch
    from medqa_nb.core.costs import LLAMA_SHAPE, peak_gib
    device,dtype = ('cuda:0', torch.bfloat16) if cuda else ('cpu', torch.float32)
    shape = LLAMA_SHAPE if cuda else TINY
    todo = [s for s in (which if cuda else [(8, 64, 2, *s[3:]) for s in which[:3]]) if list(s) not in [o['setting'] for o in done]]
    model = random_base(shape, dtype, device) if todo else None
    for s in todo:
        cfg,plan = of_setting(cuda, *s)
        o,model = measure(model, shape, cfg, plan, device)
        note(path, done, dict(setting=list(s), **o))
    for o in done:
        cfg,_ = of_setting(cuda, *o['setting'])
        o['predicted_gib'] = peak_gib(cfg, shape, *o['setting'][2:4])

def card(name, path): # Name of a profile; file of results
    "Measure the plan of a card within its memory; for the T4 without flash attention, in fp16"
    import torch
    from medqa_nb.core.config import Config
    from medqa_nb.core.models import repeat_keys
    from medqa_nb.core.costs import LLAMA, LLAMA_SHAPE
    from medqa_nb.core.planner import make_plan
    from medqa_nb.core.profiles import profiles
    p = profiles[name]
    cfg = Config().update(dict(model=dict(base=LLAMA), gpu=dict(profile=name)))
    plan = make_plan(cfg, [cfg.training.max_length]*1000, alternatives=False)
    torch.backends.cuda.enable_flash_sdp(p.flash); torch.backends.cuda.enable_cudnn_sdp(p.flash)
    if not p.flash: repeat_keys()
    model = random_base(LLAMA_SHAPE, getattr(torch, plan['dtype']), 'cuda:0')
    torch.cuda.empty_cache(); torch.cuda.set_per_process_memory_fraction(p.gib*2**30/torch.cuda.get_device_properties(0).total_memory)
    o,_ = measure(model, LLAMA_SHAPE, cfg, plan, 'cuda:0')
    note(path, [], dict(gpu=name, card_gib=p.gib, predicted_gib=plan['peak_gib'], batch=plan['per_device_batch'],
                        accumulation=plan['accumulation'], recomputed=plan['checkpointed_layers'], dtype=plan['dtype'], **o))

def cards(path, done, cuda): # As for `settings`
    "A process for each card that is not done"
    if not cuda: sys.exit('profiles needs a GPU')
    for name in ('t4', 'l4', 'a100-40', 'a100-80', 'h100', 'g4'):
        if name not in [o['gpu'] for o in done]: subprocess.run([sys.executable, __file__, 'card', str(path), name])
    done[:] = read(path)

def read(path): # File of results
    "What has been measured"
    return [json.loads(l) for l in path.read_text().splitlines()] if path.exists() else []

def main(what, out, name=None):
    import torch
    path = Path(out)
    if what == 'card': return card(name, path)
    done = read(path)
    dict(settings=settings, options=partial(settings, which=OPTIONS), profiles=cards)[what](path, done, torch.cuda.is_available())
    errors = [o['predicted_gib']/o['allocated_gib'] - 1 for o in done if o.get('allocated_gib') and not o.get('error')]
    print(f'{sum("error" in o for o in done)} of {len(done)} ran out of memory')
    if errors: print(f'predicted peak off by {statistics.mean(map(abs, errors)):.1%} on average, {max(errors, key=abs):+.1%} at most')

if __name__ == '__main__': main(*sys.argv[1:])
