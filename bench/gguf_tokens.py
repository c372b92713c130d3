"""The GGUF file of a run against transformers: the same ids for 50 prompts, and the same greedy words after them.

    python bench/gguf_tokens.py RUN_OR_ADAPTER OUT [f16|f32 [QUESTIONS]]  writes OUT/model.gguf, and what transformers says of it (reading the GGUF)
    OTHER_PYTHON bench/gguf_tokens.py --llama OUT               the same in llama.cpp (pip install llama-cpp-python there); prints the comparison. All words agree with f32, where llama.cpp computes in 32 bits;
                                                                with f16 it rounds activations and cache, too, and where two words are nearly as likely the other one can win
    python bench/gguf_tokens.py --types OUT                     every smaller type by llama.cpp's quantiser (pip install llama-cpp-python here): its size, and how much of the reference it still says
"""
import json, sys
from pathlib import Path

N = 48

def prepare(adapter, out, kind='f16', questions=50):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from medqa_nb.core.chat import load_tokenizer, prompt_ids, stop_ids
    from medqa_nb.core.files import assets
    from medqa_nb.core.gguf_file import write_gguf
    from medqa_nb.core.merging import Merged
    from medqa_nb.core.talk import greedy
    out = Path(out); out.mkdir(parents=True, exist_ok=True)
    adapter = Path(adapter)/'training/adapter' if (Path(adapter)/'training').exists() else Path(adapter)
    write_gguf(Merged(assets('tiny'), adapter), out/'model.gguf', kind, 'tiny')
    tok = load_tokenizer(assets('tiny'))
    asked = json.loads((out/'questions.json').read_text()) if (out/'questions.json').exists() else [f'What are the {w} of {d}?' for d in ('anemia', 'asthma', 'type 2 diabetes', 'Crohn\'s disease', 'naïve Δ-storage pool deficiency', 'hereditary  spherocytosis', 'migraine (with aura)', 'gout', 'COVID-19 in 2020', 'HIV/AIDS') for w in ('symptoms', 'causes', 'treatments', 'complications', 'genetic changes')]
    model = AutoModelForCausalLM.from_pretrained(out, gguf_file='model.gguf', dtype=torch.float32).eval()
    back = AutoTokenizer.from_pretrained(out, gguf_file='model.gguf')
    text = lambda q: tok.apply_chat_template([dict(role='user', content=q)], add_generation_prompt=True, tokenize=False)
    ids = [prompt_ids(tok, q) for q in asked[:int(questions)]]
    assert all(back(text(q), add_special_tokens=False)['input_ids'] == i for q,i in zip(asked, ids)), 'transformers reads the GGUF tokenizer otherwise'
    rows = []
    for q,i in zip(asked, ids): rows.append(dict(text=text(q), prompt=i, answer=list(greedy(model, i, N, stop_ids(tok)))))
    (out/'reference.json').write_text(json.dumps(dict(kind=kind, stops=stop_ids(tok), rows=rows)))
    print(f'{len(rows)} prompts: transformers reads the same ids from the GGUF file, and has answered in {sum(len(r["answer"]) for r in rows)} tokens')

def llama(out, file='model.gguf'):
    from llama_cpp import GGML_TYPE_F16, GGML_TYPE_F32, Llama
    ref = json.loads((Path(out)/'reference.json').read_text())
    cache = GGML_TYPE_F32 if ref['kind'] == 'f32' else GGML_TYPE_F16
    m,ids,words,same = Llama(str(Path(out)/file), n_ctx=1024, type_k=cache, type_v=cache, verbose=False, n_threads=1, n_threads_batch=1),0,0,0
    for r in ref['rows']:
        got = m.tokenize(r['text'].encode(), add_bos=False, special=True)
        ids += got == r['prompt']
        m.reset(); m.eval(r['prompt'])
        said = []
        while len(said) < N:
            i = int(m.sample(temp=0.0, repeat_penalty=1.0))
            if i in ref['stops']: break
            said.append(i); m.eval([i])
        words += said == r['answer']
        same += sum(a == b for a,b in zip(said, r['answer']))
    print(f'llama.cpp: {ids} of {len(ref["rows"])} prompts have the same ids, {words} answers the same {N} words at most, {same} of {sum(len(r["answer"]) for r in ref["rows"])} words')

def types(out):
    from medqa_nb.core.gguf_file import BITS, quantiser
    whole,make = Path(out)/'model.gguf',quantiser()
    if not make: sys.exit('there is no quantiser: pip install llama-cpp-python, or put llama-quantize on the PATH')
    for kind in (k for k in BITS if k not in ('f16', 'q8_0')):
        make(whole, whole.with_name(f'{kind}.gguf'), kind)
        print(f'{kind}: {whole.with_name(f"{kind}.gguf").stat().st_size/whole.stat().st_size:.0%} of the size of 16 bits', flush=True)
        llama(out, f'{kind}.gguf')

if __name__ == '__main__': dict([('--llama', llama), ('--types', types)])[sys.argv[1]](sys.argv[2]) if sys.argv[1].startswith('--') else prepare(*sys.argv[1:])
