"""Learned worlds as Gymnasium environments."""
