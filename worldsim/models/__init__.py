"""Networks: the tokenizer, the diffusion Transformer, small heads, and their checkpoints."""
