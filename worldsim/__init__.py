"""WorldSim: a learned, playable world simulator."""

__version__ = "0.1.0"
