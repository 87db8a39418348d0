"""Recordings made elsewhere become episodes."""
