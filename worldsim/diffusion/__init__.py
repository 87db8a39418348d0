"""Probability path, loss and samplers of diffusion forcing."""
