"""Action scripts and action files."""
