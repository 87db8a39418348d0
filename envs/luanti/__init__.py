"""The real game: an unmodified Luanti client in lockstep."""
