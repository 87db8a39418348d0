"""Commands of ``worldsim bench``."""
