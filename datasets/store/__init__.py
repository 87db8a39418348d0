"""Episodes on disk: written, checked, read."""
