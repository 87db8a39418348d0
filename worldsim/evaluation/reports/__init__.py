"""Reports of evaluations and comparisons of them, made from results alone."""
