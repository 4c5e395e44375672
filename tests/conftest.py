"""Settings that hold for every test of the core."""

from hypothesis import settings

# Times vary too much on a shared machine to be a property of the code.
settings.register_profile("delve", deadline=None, max_examples=60)
settings.load_profile("delve")
