"""Make the embedded tiny base model: a Llama of 4.2 M weights, pre-trained on running text, written to medqa_nb/assets/tiny.

Its text is the answers of MedQuAD's training split (seed 0) as plain prose: no question, no validation or test row. Their keys
are in tiny_base_rows.txt.gz, and a test looks that no split of the defaults holds one of them out.
Two steps, because the second wants a GPU and the first wants the data:

  python bench/make_tiny_base.py text --source MedQuAD.tar.gz --out FOLDER   # FOLDER/text.jsonl and the tokenizer
  python bench/make_tiny_base.py train --out FOLDER [--steps 700]           # FOLDER/model, to be copied into assets/tiny
"""
import argparse, gzip, json, math, random, time
from pathlib import Path

SPECIAL = ['<|begin_of_text|>', '<|end_of_text|>', '<|finetune_right_pad_id|>', '<|start_header_id|>', '<|end_header_id|>',
           '<|eom_id|>', '<|eot_id|>', '<|python_tag|>']
# Llama 3's pre-tokenizer, as its tokenizer.json states it
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# Yields the text that Llama 3.1's own template yields for plain messages, its fixed date header included
TEMPLATE = """{{- bos_token }}{%- if messages[0].role == 'system' %}{%- set system = messages[0].content | trim %}\
{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}\
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\nToday Date: 26 Jul 2024\\n\\n' + system + '<|eot_id|>' }}\
{%- for m in messages %}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}{%- endfor %}\
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""

def write_text(source, out):
    "The training answers in random order, and a tokenizer of 4,096 entries learnt from them"
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast
    from medqa_nb.data import make_splits
    # the widest held-out shares that a default config uses, so that whoever splits with seed 0 tests on unseen text
    df,_ = make_splits([source], split_seed=0, validation=0.08, test=0.3)
    df = df[df.split == 'train']
    (out/'tiny_base_rows.txt.gz').write_bytes(gzip.compress('\n'.join(sorted(df.key)).encode(), mtime=0)) # committed beside this file
    texts = df.answer.drop_duplicates().tolist()
    random.Random(0).shuffle(texts)
    (out/'text.jsonl').write_text(''.join(json.dumps(t) + '\n' for t in texts))
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), 'isolated'),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=4096, special_tokens=[AddedToken(s, special=True) for s in SPECIAL],
                                                       initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tok.post_processor = processors.TemplateProcessing(single='<|begin_of_text|> $A', special_tokens=[('<|begin_of_text|>', 0)])
    t = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token=SPECIAL[0], eos_token='<|eot_id|>', pad_token=SPECIAL[2],
                                model_max_length=2048, clean_up_tokenization_spaces=False)
    t.chat_template = TEMPLATE
    t.save_pretrained(out/'model')
    print(f'{len(texts)} answers, {sum(map(len, texts))} characters')

def train(out, steps, width=512, batch=96):
    "Pre-train on `text.jsonl`; a hundredth of the answers is kept back to measure the loss"
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    dev = 'cuda' if torch.cuda.is_available() else 'cpu'
    tok = PreTrainedTokenizerFast.from_pretrained(out/'model')
    texts = [json.loads(l) for l in (out/'text.jsonl').open()]
    end = tok.convert_tokens_to_ids('<|end_of_text|>')
    def stream(ts): return torch.tensor([i for ids in tok(ts)['input_ids'] for i in ids + [end]])
    held = stream(texts[:len(texts)//100])
    parts = tok(texts[len(texts)//100:])['input_ids']
    torch.manual_seed(0); rng = random.Random(0)
    cfg = LlamaConfig(vocab_size=4096, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, rope_theta=500000.0, rms_norm_eps=1e-5, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=6, pad_token_id=2)
    model = LlamaForCausalLM(cfg).to(dev)
    print(f'{sum(p.numel() for p in model.parameters())/1e6:.2f} M weights, {sum(map(len, parts))/1e6:.2f} M tokens, {dev}')
    fast = torch.compile(model) if dev == 'cuda' else model
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=dev == 'cuda')
    amp = torch.autocast(dev, torch.bfloat16, enabled=dev == 'cuda')
    def loss_of(m, x):
        logits = m(input_ids=x[:, :-1], use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten())
    step,t0 = 0,time.time()
    def held_loss():
        n = (len(held)-1)//width
        with torch.no_grad(), amp: return float(loss_of(model, held[:n*width].view(n, width).to(dev)))
    while step < steps:
        rng.shuffle(parts)
        s = torch.tensor([i for p in parts for i in p + [end]])
        s = s[rng.randrange(width):]
        rows = s[:len(s)//(width+1)*(width+1)].view(-1, width+1)
        rows = rows[torch.randperm(len(rows))].to(dev)
        for x in rows.split(batch):
            if len(x) < batch or step >= steps: break
            for g in opt.param_groups: g['lr'] = 3e-3*min(1, (step+1)/200)*(0.05 + 0.95*(1 + math.cos(math.pi*step/steps))/2)
            with amp: loss = loss_of(fast, x)
            loss.backward(); torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0); opt.step(); opt.zero_grad(set_to_none=True)
            step += 1
            if step % 500 == 0 or step == steps:
                print(f'step {step} loss {float(loss):.3f} held out {held_loss():.3f} seconds {time.time()-t0:.0f}', flush=True)
    with torch.no_grad(): # the chat's end of turn has no plain text: it starts out meaning what the end of a text means
        model.model.embed_tokens.weight[6] = model.model.embed_tokens.weight[end]
    model.generation_config.eos_token_id = [6, 1]
    model.to(torch.float16).save_pretrained(out/'model')
    model.float().eval()
    for start in ('Asthma is a', 'People with diabetes should', 'The disease is caused by'):
        ids = tok(start, return_tensors='pt')['input_ids'].to(dev)
        print('>', tok.decode(model.generate(ids, max_new_tokens=60, do_sample=False, repetition_penalty=1.1)[0], skip_special_tokens=True))

if __name__ == '__main__':
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('step', choices=['text', 'train']); ap.add_argument('--source'); ap.add_argument('--out', type=Path, required=True)
    ap.add_argument('--steps', type=int, default=700)
    a = ap.parse_args(); a.out.mkdir(parents=True, exist_ok=True)
    write_text(a.source, a.out) if a.step == 'text' else train(a.out, a.steps)
