"""Training speed of our path and of its peers on the shape of Llama 3.1 8B, within one card's memory, in turns on one GPU:

    python bench/speed.py run t4 medquad OUT.jsonl [REPETITIONS]     profiles: t4, l4, a100-40, h100, or several, with commas between; lengths: medquad, dense
    python bench/speed.py table OUT.jsonl                            all of OUT as a table, the ratios last
    python bench/speed.py profile l4 'ours, best'                    where a step's time goes: kernels of one side, by kind
    python bench/speed.py counts                                     operations and bytes a token, of ours and of the fastest peer, counted from shapes and lengths

Each side is a process with its own trainer and the profile's share of memory (other cards are emulated by memory, and the T4 by fp16 without flash kernels too). All
are loaded, then they take turns: some optimizer steps each, the first of a turn not counted, the cache given back after it. A turn's tokens are those of
documents, without padding. Turns that are in OUT count: the same command goes on where it stopped. The weights are random, and the peers are as the package registry has them: unsloth,
trl, liger-kernel (xformers too, but the registry's newest is built for torch 2.10 and does not load with 2.11, so Unsloth takes torch's attention).
"""
import importlib.metadata, json, os, shutil, signal, statistics, subprocess, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

LONGEST,RANK,GPU = 1024,32,bool(shutil.which('nvidia-smi'))
GIB = dict(t4=14.56, l4=22.1, h100=79., cpu=1., **{'a100-40':39.4})
BEST = {'cpu':(1, 1), 't4':(2, 8), 'l4':(4, 4), 'a100-40':(8, 2), 'h100':(16, 1)} # the peers' fastest micro-batch without recomputation; 16 full sequences a step
PACKED = {**{k:[(*v, False)] for k,v in BEST.items()}, 't4':[(1, 16, False), (2, 8, False), (8, 2, True)], 'l4':[(2, 8, False), (4, 4, False), (8, 2, True)]} # and recomputed?
PADDED = {'h100':[(16, 1, False)], 'a100-40':[(8, 2, False)]} # where padding may pay, because the host keeps up

def sides(profile): # Returns {name: settings}
    "What is compared; a step has some 16,000 tokens of full sequences wherever settings are ours to choose"
    b,a = BEST[profile]
    out = {'ours, defaults':dict(tool='ours', docs=16), 'ours, best':dict(tool='ours', docs=56),
           'TRL, common recipe':dict(tool='trl', batch=1, accumulation=8, again=True, dropout=.05, optimizer='paged_adamw_32bit'),
           'TRL + Liger':dict(tool='trl', liger=True, batch=8, accumulation=2, again=True, grouped=True),
           'Unsloth, notebook defaults':dict(tool='unsloth', batch=2, accumulation=4, again=True),
           **{f'Unsloth, grouped by length, {i} x {j}' + ', recomputed'*again:dict(tool='unsloth', batch=i, accumulation=j, grouped=True, padded=True, again=again) for i,j,again in PADDED.get(profile, [])},
           **{f'Unsloth, packed, {i} x {j}' + ', recomputed'*again:dict(tool='unsloth', batch=i, accumulation=j, packed=True, again=again) for i,j,again in PACKED[profile]}}
    if profile in ('t4', 'l4', 'cpu'): out['ours, all recomputed'] = dict(tool='ours', docs=56, again=8*LONGEST) # in the least memory, as the peers' recomputed rows
    if profile in ('l4', 'a100-40', 'h100'): out['ours, 8 bits'] = dict(tool='ours', docs=56, fp8=True)
    if profile in ('cpu', 'a100-40'): # what single steps gain; transformers and PEFT as they are, by our planner
        out.update({'ours, no shared start':dict(tool='ours', docs=56, share=False), 'ours, plain path':dict(tool='ours', docs=56, plain=True)})
    if profile == 'cpu': # to see that the bench works
        for o in out.values(): o.update({k:min(v, 2) for k,v in o.items() if k in ('docs', 'batch', 'accumulation')})
    return out

FOLDER = Path(os.environ.get('MEDQA_BENCH', tempfile.gettempdir())) # of checkpoints and of what the sides print

def dtype_of(profile): return dict(t4='float16', cpu='float32').get(profile, 'bfloat16')

def checkpoint(dtype): # 'bfloat16' or 'float16'; returns its folder
    "A quantised model folder, made once"
    import torch
    from medqa_nb.core.chat import load_tokenizer
    from medqa_nb.core.costs import LLAMA_SHAPE
    from medqa_nb.core.files import assets
    from plan_accuracy import TINY, random_base
    folder = FOLDER/f'eight-billion-{dtype}'
    if not (folder/'tokenizer.json').exists():
        cuda = torch.cuda.is_available()
        random_base(LLAMA_SHAPE if cuda else TINY, getattr(torch, dtype), 'cuda:0' if cuda else 'cpu').save_pretrained(folder)
        load_tokenizer(assets('tiny')).save_pretrained(folder)
    return folder

def rows(which, n): # 'medquad' or 'dense'; number. Returns a dataset
    "Documents with labels"
    from datasets import Dataset
    from eight_billion import docs
    found = docs(n, LONGEST, 128000 if GPU else 2000, dense=which == 'dense')
    return Dataset.from_dict(dict(input_ids=[i.tolist() for i,_ in found], labels=[l.tolist() for _,l in found]))

# ours and theirs -------------------------------------------------------------------------------------------------------

def ours(profile, lengths, o, steps): # Profile; lengths; settings; steps. Returns a trainer
    from medqa_nb.core import documents, steps as core
    from medqa_nb.core.config import Config
    from medqa_nb.core.planner import make_plan
    folder = checkpoint(dtype_of(profile))
    cfg = Config().update(dict(model=dict(base=str(folder)), gpu=dict(profile=profile), lora=dict(rank=RANK, alpha=2*RANK),
                               training=dict(max_length=LONGEST, effective_batch=o['docs'], max_steps=steps, fp8=bool(o.get('fp8')), fused=not o.get('plain'))))
    if o.get('share') is False: documents.shared_start = core.shared_start = lambda docs: 0
    core.as_dataset = lambda df: df
    plan = make_plan(cfg, [LONGEST]*100 if lengths == 'dense' else None, alternatives=False)
    if o.get('again'): plan.update(checkpointed_layers=32, micro_tokens=o['again'])
    data = rows(lengths, o['docs']*steps)
    trainer,_ = core.build_trainer(cfg, plan, data, data.select(range(1)), tempfile.mkdtemp())
    trainer.args.save_strategy = trainer.args.eval_strategy = 'no'
    return trainer, dict(micro_tokens=plan['micro_tokens'], recomputed=plan['checkpointed_layers'], planned_gib=plan['peak_gib'], path='fused' if trainer.fused else 'plain')

def theirs(profile, lengths, o, steps): # As `ours`
    import torch
    dtype = getattr(torch, dtype_of(profile))
    folder,unsloth = str(checkpoint(dtype_of(profile))),o['tool'] == 'unsloth'
    if unsloth: from unsloth import FastLanguageModel
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer
    lora = dict(r=RANK, lora_alpha=2*RANK, lora_dropout=o.get('dropout', 0), bias='none')
    common = dict(output_dir=tempfile.mkdtemp(), max_steps=steps, per_device_train_batch_size=o['batch'], gradient_accumulation_steps=o['accumulation'], learning_rate=2e-4,
        bf16=profile not in ('t4', 'cpu'), fp16=profile == 't4', use_cpu=profile == 'cpu', logging_steps=1, save_strategy='no', report_to='none', optim=o.get('optimizer', 'adamw_8bit'), max_length=LONGEST,
        packing=bool(o.get('packed')) and lengths != 'dense', **(dict(padding_free=False) if o.get('padded') else {}), train_sampling_strategy='group_by_length' if o.get('grouped') and lengths != 'dense' else 'random',
        disable_tqdm=True, dataloader_pin_memory=False, warmup_steps=2)
    data = rows(lengths, int(o['batch']*o['accumulation']*steps*(4 if common['packing'] else 1)))
    if unsloth:
        model,tok = FastLanguageModel.from_pretrained(folder, max_seq_length=LONGEST, dtype=dtype, load_in_4bit=True)
        model = FastLanguageModel.get_peft_model(model, **lora, target_modules='q_proj k_proj v_proj o_proj gate_proj up_proj down_proj'.split(),
                                                 use_gradient_checkpointing='unsloth' if o.get('again') else False, random_state=0)
        return SFTTrainer(model=model, processing_class=tok, train_dataset=data, args=SFTConfig(**common, gradient_checkpointing=bool(o.get('again')))), {}
    def trainer(**kw):
        out = SFTTrainer(**kw)
        for p in out.model.parameters():
            if profile == 't4' and p.requires_grad: p.data = p.data.float() # TRL makes adapters bf16, which torch's gradient scaler for fp16 does not take
        return out
    model = AutoModelForCausalLM.from_pretrained(folder, device_map={'':0 if torch.cuda.is_available() else 'cpu'}, attn_implementation='sdpa', dtype=dtype)
    return trainer(model=model, processing_class=AutoTokenizer.from_pretrained(folder), train_dataset=data, peft_config=LoraConfig(**lora, target_modules='all-linear', task_type='CAUSAL_LM'),
        args=SFTConfig(**common, gradient_checkpointing=bool(o.get('again')), gradient_checkpointing_kwargs=dict(use_reentrant=False), use_liger_kernel=bool(o.get('liger')))), {}

# a side ----------------------------------------------------------------------------------------------------------------

def tokens_in(batch): # A trainer's batch; returns a number, perhaps on the card
    "Tokens of documents"
    if (m := batch.get('attention_mask')) is not None and m.dim() == 2: return m.sum()
    return batch['input_ids'].numel()

class Parked:
    "Our frozen weights leave the card while another side has its turn, so that it holds them all"
    def __init__(self, model):
        import torch
        self.large = [(p, p.data.to('cpu').pin_memory()) for p in model.parameters() if p.is_cuda and not p.requires_grad and p.numel()*p.element_size() > 2**20]
        self.empty = torch.empty(0)
    def park(self):
        for p,host in self.large: p.data = self.empty.to(p.device, p.dtype)
    def back(self):
        for p,host in self.large: p.data = host.to('cuda', non_blocking=True)

def turns(trainer, least, cuts): # Trainer; seconds of a turn; does it cut what it is given into micro-batches of its own?
    "A callback that waits for its turn after a step for warming up and steps of so many seconds"
    import torch
    from transformers import TrainerCallback
    cuda,seen,step = torch.cuda.is_available(),[],trainer.training_step
    sync = torch.cuda.synchronize if cuda else lambda: None
    def counted(model, inputs, *args, **kw):
        seen.append((tokens_in(inputs), inputs['input_ids'].numel()))
        return step(model, inputs, *args, **kw)
    trainer.training_step = counted
    class Turns(TrainerCallback):
        n,parked = 0,None
        def wait(self, control):
            if self.parked: self.parked.park()
            if cuda: torch.cuda.empty_cache()
            self.word = sys.stdin.readline().strip() # 'warm': one step, 'go': measure
            if not self.word: control.should_training_stop = True
            if self.parked: self.parked.back()
            if cuda: torch.cuda.reset_peak_memory_stats()
            self.rest = torch.cuda.memory_allocated() if cuda else 0
        def on_train_begin(self, args, state, control, **kw):
            if cuda and cuts: self.parked = Parked(trainer.model)
            tell(dict(ready=True)); self.wait(control)
        def on_step_end(self, args, state, control, **kw):
            self.n += 1
            if self.n == 1: sync(); seen.clear(); self.start = time.perf_counter()
            if self.word == 'warm': tell(dict(warm=True)); self.n = 0; self.wait(control); return
            if self.n == 1 or time.perf_counter() - self.start < least: return # each step is logged, so the card has ended it
            sync()
            seconds,real = time.perf_counter() - self.start,int(sum(int(a) for a,_ in seen))
            peak = torch.cuda.max_memory_allocated() if cuda else 0
            tell(dict(tokens=real, seconds=seconds, steps=self.n - 1, padded=None if cuts else sum(b for _,b in seen)/real, peak_gib=peak/2**30, rest_gib=self.rest/2**30, loss=state.log_history[-1].get('loss') if state.log_history else None))
            self.n = 0; self.wait(control)
    trainer.add_callback(Turns())

def tell(o): print('TELL ' + json.dumps(o), flush=True)

def side(profile, lengths, name):
    "One process: load, then take turns"
    o = sides(profile)[name]
    if o.get('padded'): os.environ['UNSLOTH_BLOCK_COMPILE'] = '0' # it compiles for minutes, and by its authors' word gains where a micro-batch takes the card less than 0.1 s
    os.chdir(tempfile.mkdtemp())
    try:
        if o['tool'] == 'unsloth': import unsloth
        import torch
        if torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(GIB[profile]*2**30/torch.cuda.get_device_properties(0).total_memory)
            if profile == 't4': torch.backends.cuda.enable_flash_sdp(False); torch.backends.cuda.enable_cudnn_sdp(False)
        trainer,more = (ours if o['tool'] == 'ours' else theirs)(profile, lengths, o, STEPS)
        turns(trainer, SECONDS, o['tool'] == 'ours')
        tell(more)
        trainer.train()
    except Exception as e: tell(dict(error=f'{type(e).__name__}: {str(e).splitlines()[0][:300] if str(e) else ""}', others='OutOfMemory' in type(e).__name__ and full(profile))); raise

def full(profile): # Returns whether the card had no more to give although this process has not used up its share: then others hold too much
    import torch
    return torch.cuda.mem_get_info()[0] < 2**30 < GIB[profile]*2**30 - torch.cuda.max_memory_reserved() # an error leaves its process' memory as it was

SECONDS,STEPS = 2.,60 # of a turn, and of all turns together, at most

# all of them -----------------------------------------------------------------------------------------------------------

class Side:
    "A process that takes turns"
    def __init__(self, profile, lengths, name):
        self.name,self.about,self.error,self.others = name,{},None,False
        self.log = open(FOLDER/f'{profile}-{lengths}-{name}.log'.replace(' ', '_').replace(',', '').replace('+', ''), 'w')
        self.process = subprocess.Popen([sys.executable, __file__, 'side', profile, lengths, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True, env={**os.environ, **QUIET})
    def hear(self): # Returns what it says next, or None
        for line in self.process.stdout:
            if line.startswith('TELL '):
                o = json.loads(line[5:])
                self.error,self.others = o.get('error'),o.get('others')
                return o
            self.log.write(line)
        self.error = self.error or 'ended'
    def ready(self): # Wait until it is loaded; returns a bool
        while not self.error:
            o = self.hear()
            if o and o.get('ready'): return True
            if o and not self.error: self.about.update(o)
    def turn(self, word): # 'warm' or 'go'. Returns what it measured, or None
        if self.error: return
        self.process.stdin.write(word + '\n'); self.process.stdin.flush()
        o = self.hear()
        return None if self.error else o
    def end(self):
        self.process.kill(); self.process.wait(); self.log.close()

QUIET = dict(HF_HUB_OFFLINE='1', TRANSFORMERS_OFFLINE='1', UNSLOTH_DISABLE_STATISTICS='1', TOKENIZERS_PARALLELISM='false', WANDB_MODE='disabled', PYTHONUNBUFFERED='1', PYTORCH_CUDA_ALLOC_CONF='expandable_segments:True')

def run(profiles, lengths, out, repetitions='3', only=''): # Names with commas between; 'medquad' or 'dense'; file; turns; beginnings of sides' names, with semicolons between
    "Turns of all sides"
    path,begin,n = Path(out),time.time(),int(repetitions)
    wanted = {(p, k):o for p in profiles.split(',') for k,o in sides(p).items() if (not only or any(k.startswith(x) for x in only.split(';')))
              and (lengths != 'dense' or k in ('ours, best', 'ours, all recomputed') or k.startswith('Unsloth, packed'))}
    had = {(o['profile'], o['side']):o for o in read(path) if o['lengths'] == lengths}
    found = {k:had[k]['turns'] if k in had else [] for k in wanted}
    if not (todo := [k for k in wanted if len(found[k]) < n and not had.get(k, {}).get('error')]): return print('nothing to do')
    for t in dict.fromkeys(dtype_of(p) for p,_ in todo): subprocess.run([sys.executable, __file__, 'checkpoint', t], check=True) # a process of its own: it must leave the card
    same = {} # a peer whose settings are those of another profile runs once for both, in the memory of the smaller
    for p,k in sorted(todo, key=lambda o: GIB[o[0]]):
        o = wanted[p, k]
        same.setdefault((p, k) if o['tool'] == 'ours' else (k, dtype_of(p), json.dumps(o)), []).append((p, k))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)) # so that the sides end too
    all_ = [(Side(keys[0][0], lengths, keys[0][1]), keys) for keys in same.values()]
    try:
        for s,_ in all_: s.ready()
        print(f'{profiles}, {lengths}: loaded after {time.time() - begin:.0f} s', flush=True)
        for s,keys in all_: s.turn('warm'); print(f'{keys[0][0]}, {s.name}: {s.error or "warm"} after {time.time() - begin:.0f} s', flush=True)
        while any(len(found[keys[0]]) < n for s,keys in all_ if not s.error):
            for s,keys in all_:
                if o := s.turn('go'):
                    for k in keys: found[k] = found[k] + [o]
            with open(path, 'a') as f: # each round replaces the one before
                for s,keys in all_:
                    if s.others: continue # no fault of this side: its turns come when the command runs again, with fewer sides
                    for p,k in keys: f.write(json.dumps(dict(profile=p, lengths=lengths, side=k, **s.about, error=s.error, versions=versions(), device=device(), turns=found[p, k])) + '\n')
    finally:
        for s,_ in all_: s.end()
    print(f'{profiles}, {lengths}: {time.time() - begin:.0f} s')
    table(out)

# one side, looked into --------------------------------------------------------------------------------------------------

KINDS = {'matrix products':('gemm', 'nvjet', 'cutlass_80', 'cutlass_90', 'xmma', 'cublas', 'splitK'), 'attention':('flash', 'fmha', 'attention'), 'unpacking and adapters':('open_kernel', 'dequant', 'unpack'),
         'gated product':('swiglu', 'swiglu_back', '_fg_', 'DWf'), 'norms':('rms_norm', 'rms_layernorm', 'layernorm'), 'rotation':('rotate', 'rope'), 'vocabulary':('cross_entropy',), 'eight bits':('to_eight', 'turn_kernel'),
         'optimizer':('adam', 'kOptimizer', 'multi_tensor'), 'copies between host and card':('Memcpy HtoD', 'Memcpy DtoH', 'Memcpy PtoD')}

def profile(name, which, lengths='medquad', steps='3'): # Profile; side; lengths; steps to look at after as many for warming up
    "Where the time of a side's step goes, by kind of kernel"
    import torch
    from torch.profiler import ProfilerActivity, profile as watch
    from transformers import TrainerCallback
    if torch.cuda.is_available(): torch.cuda.set_per_process_memory_fraction(min(1, GIB[name]*2**30/torch.cuda.get_device_properties(0).total_memory))
    n,o = int(steps),sides(name)[which]
    trainer,_ = (ours if o['tool'] == 'ours' else theirs)(name, lengths, o, 3*n)
    marks,cuda = [],torch.cuda.is_available()
    w = watch(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU])
    class Marks(TrainerCallback):
        def on_step_end(self, args, state, control, **kw):
            if cuda: torch.cuda.synchronize()
            marks.append(time.perf_counter())
            if len(marks) == 2*n: w.start()
            if len(marks) == 3*n: w.stop()
    trainer.add_callback(Marks())
    trainer.train()
    took = {}
    for e in w.key_averages():
        spent = (e.self_device_time_total if cuda else e.self_cpu_time_total)/1e3/n
        if not spent: continue
        kind = next((k for k,words in KINDS.items() if any(x.lower() in e.key.lower() for x in words)), 'the rest')
        took.setdefault(kind, []).append((spent, e.count//n, e.key[:110]))
    total = sum(t for o in took.values() for t,_,_ in o)
    print(f'{name}, {which}: a step of {1e3*(marks[2*n-1] - marks[n-1])/n:.0f} ms, {1e3*(marks[-1] - marks[2*n])/(n-1):.0f} ms while watched; kernels {total:.0f} ms')
    for k,v in sorted(took.items(), key=lambda o: -sum(t for t,_,_ in o[1])):
        print(f'  {k:30} {sum(t for t,_,_ in v):8.1f} ms {sum(t for t,_,_ in v)/total:6.1%}')
        for t,c,key in sorted(v, reverse=True)[:6]: print(f'    {t:8.2f} ms {c:6} x {key}')
    idle(w, n)

def idle(w, n, longest=12): # A profile; steps in it
    "When the card had nothing to do"
    from torch.autograd import DeviceType
    work = sorted((e.time_range.start, e.time_range.end, e.name[:60]) for e in w.events() if e.device_type == DeviceType.CUDA)
    gaps,end,before = [],None,''
    for a,b,name in work:
        if end is not None and a > end: gaps.append(((a - end)/1e3, before, name))
        if end is None or b > end: end,before = b,name
    print(f'  idle {sum(g for g,_,_ in gaps)/n:.1f} ms a step in {len(gaps)//n} gaps; the longest between')
    for g,x,y in sorted(gaps, reverse=True)[:longest]: print(f'    {g:8.2f} ms {x}  and  {y}')

# counted, not measured -------------------------------------------------------------------------------------------------

def counts(*profiles): # Profiles; t4 and l4 unless told
    "Per token of a document: operations of matrix products, bytes of unpacked weights and of what is kept for the backward pass, and the microseconds that the card needs for these at least; a DataFrame"
    import pandas as pd
    from medqa_nb.core.profiles import profiles as cards
    peers = {p:[(b, again) for b,_,again in PACKED[p]] for p in profiles or ('t4', 'l4')}
    out = pd.DataFrame([o for p,sizes in peers.items() for o in (dict(profile=p, side='ours, best', **count_ours(p)), dict(profile=p, side='ours, all recomputed', **count_ours(p, 8*LONGEST)),
        *(dict(profile=p, side=f'Unsloth, packed, {z[0]} rows' + ', recomputed'*z[1], **count_peer(*z)) for z in sizes))])
    card = out.profile.map(cards)
    out['least_us'] = out.gflop*1e3/card.map(lambda p: p.tflops) + 2*(out.unpacked_mb + out.kept_mb)*1e3/card.map(lambda p: p.gbs) # written and read, at the datasheet's rates
    return out

def lengths(n, most=None): # Documents, in micro-batches of at most so many tokens. Returns (tokens, tokens computed with a shared start of 30, tokens with a loss)
    from eight_billion import docs
    found = docs(n, LONGEST)
    real,learned = sum(len(i) for i,_ in found),sum(int((l[1:] != -100).sum()) for _,l in found)
    return real, real - 30*(n - real/most if most else 0), learned

def count_ours(profile, again=None): # Profile; tokens of a micro-batch if all layers are computed again
    "As `core.costs` counts: augmented matrices, the head for learned tokens only, the shared start once in a micro-batch; what is computed again leaves out a layer's last matrix"
    from medqa_nb.core.config import Config
    from medqa_nb.core.costs import LLAMA, LLAMA_SHAPE as s, extra_columns, fused_layer_bytes, matrices, weight_counts
    from medqa_nb.core.planner import make_plan
    cfg = Config().update(dict(model=dict(base=LLAMA), gpu=dict(profile=profile), lora=dict(rank=RANK), training=dict(max_length=LONGEST, effective_batch=56)))
    plan,m,n = make_plan(cfg, alternatives=False),matrices(s),s['num_hidden_layers']
    groups = [('q_proj', 'k_proj', 'v_proj'), ('o_proj',), ('gate_proj', 'up_proj'), ('down_proj',)]
    sizes = [(m[g[0]][0], sum(m[o][1] for o in g), e) for g,e in zip(groups, extra_columns(cfg, s))]
    tokens = again or plan['micro_tokens']
    real,computed,learned = lengths(5000, tokens)
    layers = n*(sum(2*(2*a*b + 3*e*(a + b)) for a,b,e in sizes) + bool(again)*sum(2*(a*b + e*(a + b)) for a,b,e in sizes[:-1]))
    opened = 2*weight_counts(s)[0] + bool(again)*n*sum(a*b for a,b,_ in sizes[:-1])
    return dict(gflop=(layers*computed + 4*s['vocab_size']*s['hidden_size']*learned)/real/1e9, unpacked_mb=2*opened/(tokens*real/computed)/1e6,
                kept_mb=(2*s['hidden_size'] if again else fused_layer_bytes(cfg, s))*n*computed/real/1e6, micro_tokens=tokens, recomputed=n if again else plan['checkpointed_layers'])

def count_peer(batch, again): # Packed rows of 1,024; all layers recomputed?
    "Frozen matrices and adapters apart, all tokens through the head; what is kept follows from the shared sweeps' peaks of two sizes, or is each layer's input"
    from medqa_nb.core.costs import LLAMA_SHAPE as s, matrices, weight_counts
    n,tokens = s['num_hidden_layers'],batch*LONGEST
    layers = n*sum((2 + again)*2*a*b + (3 + again)*2*RANK*(a + b) for a,b in matrices(s).values())
    kept = n*2*s['hidden_size'] if again else (36.32 - 21.33)*2**30/(4*LONGEST)
    return dict(gflop=(layers + 4*s['vocab_size']*s['hidden_size'])/1e9, unpacked_mb=(2 + again)*2*weight_counts(s)[0]/tokens/1e6, kept_mb=kept/1e6,
                micro_tokens=tokens, recomputed=n*again)

def versions(): # Returns {package: version}
    return {k:importlib.metadata.version(k) for k in ('torch', 'transformers', 'trl', 'peft', 'bitsandbytes', 'liger_kernel', 'unsloth', 'xformers') if any(True for _ in importlib.metadata.distributions(name=k))}

def device():
    import torch
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'cpu'

def read(path): # Returns a list of results
    lines = [json.loads(l) for l in Path(path).read_text().splitlines()] if Path(path).exists() else []
    return list({(o['profile'], o['lengths'], o['side']):o for o in lines}.values())

def table(out):
    "Medians, and ours by the fastest peer, last"
    import pandas as pd
    pd.set_option('display.width', 250, 'display.max_columns', 20)
    found = read(out)
    speed = lambda o: statistics.median(t['tokens']/t['seconds'] for t in o['turns'])
    line = lambda o: dict(profile=o['profile'], lengths=o['lengths'], side=o['side'], turns=len(o['turns']), tokens_per_second=round(speed(o)) if o['turns'] else None,
        spread=' to '.join(f'{f(t["tokens"]/t["seconds"] for t in o["turns"]):,.0f}' for f in (min, max)) if o['turns'] else o['error'][:60],
        padded=round(statistics.mean(t['padded'] for t in o['turns']), 2) if o['turns'] and o['turns'][0]['padded'] else None, peak_gib=round(max(t['peak_gib'] for t in o['turns']), 2) if o['turns'] else None,
        tokens=o.get('micro_tokens'), recomputed=o.get('recomputed'))
    print(pd.DataFrame([line(o) for o in found]).to_string(index=False))
    for k in dict.fromkeys((o['profile'], o['lengths']) for o in found):
        here = {o['side']:speed(o) for o in found if (o['profile'], o['lengths']) == k and o['turns']}
        peers = {s:v for s,v in here.items() if not s.startswith('ours')}
        if not peers: continue
        best = max(peers, key=peers.get)
        for s,v in here.items():
            if s.startswith('ours'): print(f'{" ".join(k)}: {s} {v/peers[best]:.2f} x {best}; ' + '; '.join(f'{v/w:.2f} x {p}' for p,w in peers.items() if p != best))

if __name__ == '__main__': dict(run=run, side=side, table=table, checkpoint=checkpoint, profile=profile, counts=lambda *p: print(counts(*p).to_string(index=False)))[sys.argv[1]](*sys.argv[2:])
