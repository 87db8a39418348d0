"""Commands of ``worldsim agent``."""
