"""Settings of all tests: hypothesis has no deadline, for other programs decide how long an example takes."""

import os

from hypothesis import settings

# Before torch is imported: several tests run side by side, and sums in another order are other numbers.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("worldsim", deadline=None)
settings.load_profile("worldsim")
