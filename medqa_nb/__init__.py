"""Fine-tune Llama 3.1 8B for medical question answering on Google Colab: leak-free data, training that survives disconnects, honest evaluation

Modules:

- `medqa_nb.cli`: `medqa <stage>`: the functions of the notebooks, from a terminal. Status 0 means the job is done; a foreseeable failure is one line on stderr and status 2.
- `medqa_nb.core.askdocs`: Reddit's r/AskDocs from files of your own: questions joined with their best answer, cleaned in named steps, nothing personal kept.
- `medqa_nb.core.checkpoints`: A checkpoint is one tar and one manifest. The manifest is written last and lists every byte, so what it describes is complete, and whatever it does not describe is never resumed from. A thread of its own brings it to where it outlives the machine.
- `medqa_nb.core.fused`: A Llama's training step as few large products: each layer's forward and backward pass derived by hand, the adapter folded into the frozen matrices, no padding, and logits only where there is something to learn.
- `medqa_nb.core.kernels`: The small steps between two matrix products, each in one pass over memory: on a card by Triton, elsewhere by a few lines of torch that say the same and are the definition.
- `medqa_nb.core.trainer`: TRL's trainer with a memory: it can be killed at any moment, started again with the same words, and goes on as if nothing had happened."""

__version__ = "0.0.1"
