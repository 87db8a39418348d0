"""Commands of ``worldsim train``."""
