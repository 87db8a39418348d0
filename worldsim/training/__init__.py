"""Training of the tokenizer, the dynamics, and everything else that learns."""
