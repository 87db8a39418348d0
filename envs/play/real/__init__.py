"""The real game beside the dream of it, on the same inputs; from the same start where a game can be put there."""
