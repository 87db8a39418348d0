"""The real game beside the dream of it: the same start, the same inputs."""
