"""Counterfactual trees: where they begin, what they do, what they leave behind."""
