"""What makes the documentation: generated pages, plots from the figures of experiments, pictures for the concepts."""
