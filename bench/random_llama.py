"""A model folder with the exact shape of Llama 3.1 8B, random weights and the tokenizer of the embedded model, for benches that load from disk:

    python bench/random_llama.py DIR [LAYERS]

16 GB on disk with 32 layers. Its speed and memory are real, its knowledge is not; made on the GPU if there is one.
"""
import sys

def main(folder, layers='32'):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from medqa_nb.core.chat import load_tokenizer
    from medqa_nb.core.files import assets
    from medqa_nb.core.costs import LLAMA_SHAPE
    tok = load_tokenizer(assets('tiny'))
    config = LlamaConfig(**{**LLAMA_SHAPE, 'num_hidden_layers':int(layers)}, max_position_embeddings=131072, rope_theta=500000.0,
                         bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device('cuda' if torch.cuda.is_available() else 'cpu'): model = LlamaForCausalLM(config)
    model.save_pretrained(folder, max_shard_size='4GB')
    tok.save_pretrained(folder)
    print(f'{sum(p.numel() for p in model.parameters())/1e9:.2f} G weights in {folder}')

if __name__ == '__main__': main(*sys.argv[1:])
