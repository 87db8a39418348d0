"""Recorders for Gymnasium environments, pygame programs and programs of your own."""
