"""What every test runs under: one thread, since workers share the cores, and Hypothesis without chance."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch; child processes inherit it
settings.register_profile("tests", derandomize=True, database=None, deadline=None)
settings.load_profile("tests")
