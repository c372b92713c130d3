"""The GGUF file of a run against transformers: the same ids for 50 prompts, and the same greedy words after them.

    python bench/gguf_tokens.py RUN_OR_ADAPTER OUT [QUESTIONS]  writes OUT/model.gguf (16 bits), and what transformers says of it (reading the GGUF) and of base and adapter
    OTHER_PYTHON bench/gguf_tokens.py --llama OUT               the same in llama.cpp (pip install llama-cpp-python there); prints the comparison
"""
import json, sys
from pathlib import Path

N = 48

def prepare(adapter, out, questions=50):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from medqa_nb.core.chat import load_tokenizer, prompt_ids, stop_ids
    from medqa_nb.core.files import assets
    from medqa_nb.core.gguf_file import write_gguf
    from medqa_nb.core.merging import Merged
    from medqa_nb.core.talk import greedy
    out = Path(out); out.mkdir(parents=True, exist_ok=True)
    adapter = Path(adapter)/'training/adapter' if (Path(adapter)/'training').exists() else Path(adapter)
    write_gguf(Merged(assets('tiny'), adapter), out/'model.gguf', 'f16', 'tiny')
    tok = load_tokenizer(assets('tiny'))
    asked = json.loads((out/'questions.json').read_text()) if (out/'questions.json').exists() else [f'What are the {w} of {d}?' for d in ('anemia', 'asthma', 'type 2 diabetes', 'Crohn\'s disease', 'naïve Δ-storage pool deficiency', 'hereditary  spherocytosis', 'migraine (with aura)', 'gout', 'COVID-19 in 2020', 'HIV/AIDS') for w in ('symptoms', 'causes', 'treatments', 'complications', 'genetic changes')]
    model = AutoModelForCausalLM.from_pretrained(out, gguf_file='model.gguf', dtype=torch.float32).eval()
    back = AutoTokenizer.from_pretrained(out, gguf_file='model.gguf')
    text = lambda q: tok.apply_chat_template([dict(role='user', content=q)], add_generation_prompt=True, tokenize=False)
    ids = [prompt_ids(tok, q) for q in asked[:int(questions)]]
    assert all(back(text(q), add_special_tokens=False)['input_ids'] == i for q,i in zip(asked, ids)), 'transformers reads the GGUF tokenizer otherwise'
    rows = []
    for q,i in zip(asked, ids): rows.append(dict(text=text(q), prompt=i, answer=list(greedy(model, i, N, stop_ids(tok)))))
    (out/'reference.json').write_text(json.dumps(dict(stops=stop_ids(tok), rows=rows)))
    print(f'{len(rows)} prompts: transformers reads the same ids from the GGUF file, and has answered in {sum(len(r["answer"]) for r in rows)} tokens')

def llama(out):
    from llama_cpp import Llama
    ref = json.loads((Path(out)/'reference.json').read_text())
    m,ids,words,same = Llama(str(Path(out)/'model.gguf'), n_ctx=1024, verbose=False, n_threads=1, n_threads_batch=1),0,0,0
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

if __name__ == '__main__': llama(sys.argv[2]) if sys.argv[1] == '--llama' else prepare(*sys.argv[1:])
