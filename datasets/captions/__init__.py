"""Captions of clips: by rules, templates, and language models."""
