"""Predicted against measured peak memory, and tokens a second, of our training path:  python bench/plan_accuracy.py [OUT.jsonl]

The model has the exact shape of Llama 3.1 8B and random weights (memory and speed depend on shape and type, not on what the weights
know), NF4 with double quantisation. Each setting is measured over five optimizer steps on full sequences; settings that are in OUT
are not measured again. Without a GPU the tiny shape shows that the bench works; its numbers mean nothing.
"""
import gc, json, statistics, sys, tempfile, time
from pathlib import Path

# rank, max_length, micro-batch, recomputed layers
SETTINGS = [(16, 1024, 8, 32), (16, 1024, 8, 0), (16, 1024, 1, 0), (16, 1024, 2, 0), (16, 1024, 4, 0), (8, 1024, 4, 16), (64, 1024, 4, 16),
            (64, 1024, 8, 32), (8, 512, 16, 32), (16, 512, 8, 0), (32, 512, 1, 0), (32, 2048, 2, 0), (16, 2048, 4, 24), (32, 4096, 1, 0),
            (8, 4096, 4, 32), (64, 4096, 1, 16), (16, 1024, 16, 32), (16, 1024, 16, 8), (32, 512, 16, 0), (16, 2048, 1, 8)]

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

def measure(model, shape, rank, length, batch, recomputed, device, steps=5): # Returns a dict
    "Peak memory and speed of one setting with our trainer"
    import torch
    from trl import SFTTrainer
    from medqa_nb.core.chat import load_tokenizer
    from medqa_nb.core.config import Config
    from medqa_nb.core.files import assets
    from medqa_nb.core.models import lora_config
    from medqa_nb.core.planner import peak_gib
    from medqa_nb.core.trainer import float_adapter, recompute_first, sft_config
    cuda = device != 'cpu'
    cfg = Config().update(dict(gpu=dict(profile='h100' if cuda else 'cpu'), lora=dict(rank=rank, alpha=2*rank),
                               training=dict(max_length=length, effective_batch=batch, max_steps=steps)))
    plan = dict(dtype='bfloat16' if cuda else 'float32', gpu='h100' if cuda else 'cpu', per_device_batch=batch, accumulation=1,
                checkpointed_layers=recomputed)
    out = dict(rank=rank, length=length, batch=batch, recomputed=recomputed, predicted_gib=peak_gib(cfg, shape, batch, recomputed))
    with tempfile.TemporaryDirectory() as d:
        args = sft_config(cfg, plan, d)
        args.dataset_kwargs,args.eval_strategy,args.save_strategy = dict(skip_prepare_dataset=True),'no','no'
        trainer = SFTTrainer(model=model, args=args, train_dataset=dense_rows(batch*steps, length, shape['vocab_size']),
                             processing_class=load_tokenizer(assets('tiny')), peft_config=lora_config(cfg))
        float_adapter(trainer.model)
        trainer.add_callback(recompute_first(recomputed))
        ends = clock(trainer, cuda)
        if cuda: torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
        try: trainer.train()
        except torch.OutOfMemoryError: out['error'] = 'out of memory'
        if cuda: out.update(allocated_gib=torch.cuda.max_memory_allocated()/2**30, reserved_gib=torch.cuda.max_memory_reserved()/2**30)
        took = [b-a for a,b in zip(ends, ends[1:])][1:]
        if took: out.update(tokens_per_second=batch*length/statistics.median(took), spread=[min(took), max(took)])
        base = trainer.model.unload()
        del trainer; gc.collect()
        if cuda: torch.cuda.empty_cache()
    return out, base

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

def main(out='plan_accuracy.jsonl'):
    import torch
    from medqa_nb.core.planner import LLAMA_SHAPE
    cuda = torch.cuda.is_available()
    device,dtype = ('cuda:0', torch.bfloat16) if cuda else ('cpu', torch.float32)
    shape = LLAMA_SHAPE if cuda else {**LLAMA_SHAPE, 'hidden_size':256, 'intermediate_size':512, 'num_hidden_layers':4, 'num_attention_heads':4,
                                      'num_key_value_heads':2, 'vocab_size':2048}
    settings = SETTINGS if cuda else [(8, 64, 2, 0), (8, 64, 2, 2), (8, 64, 2, 4)]
    path = Path(out)
    done = [json.loads(l) for l in path.read_text().splitlines()] if path.exists() else []
    known = {(o['rank'], o['length'], o['batch'], o['recomputed']) for o in done}
    model = random_base(shape, dtype, device) if set(settings) - known else None
    if cuda and model: print(f'weights: {torch.cuda.memory_allocated()/2**30:.2f} GiB', flush=True)
    for s in settings:
        if s in known: continue
        o,model = measure(model, shape, *s, device)
        done.append(o); print(json.dumps(o), flush=True)
        with open(path, 'a') as f: f.write(json.dumps(o) + '\n')
    errors = [abs(o['predicted_gib']/o['allocated_gib'] - 1) for o in done if o.get('allocated_gib') and not o.get('error')]
    if errors: print(f'{len(errors)} settings: predicted peak off by {statistics.mean(errors):.1%} on average, {max(errors):.1%} at most')

if __name__ == '__main__': main(*sys.argv[1:])
