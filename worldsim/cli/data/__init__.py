"""Commands of ``worldsim data``, and what they are made of: episodes, their checks, captions and records."""
