"""Hydra configurations of the commands."""
