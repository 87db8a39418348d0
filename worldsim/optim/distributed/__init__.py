"""Training on several processes (ranks) by PyTorch's own engines: the one place that knows about ranks."""
