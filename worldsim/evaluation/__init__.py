"""Judging a world: its parts are measured, kept and reported."""
