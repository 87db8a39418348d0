"""Checking, repairing and describing stores."""
