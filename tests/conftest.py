"""What all tests share: how hard hypothesis looks, and that a missing peer fails in CI."""

import os

from hypothesis import HealthCheck, settings

# No time limits: other things run on the machines that test.
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("quick", deadline=None, suppress_health_check=QUIET)
settings.register_profile("slow", deadline=None, suppress_health_check=QUIET, max_examples=1_500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
