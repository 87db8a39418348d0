"""Settings of all tests: hypothesis has no deadline, for other programs decide how long an example takes."""

from hypothesis import settings

settings.register_profile("worldsim", deadline=None)
settings.load_profile("worldsim")
