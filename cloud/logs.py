"""Sets up logging; no other module does."""

import logging
import sys


def set_up_logging(level: str) -> None:
    """Log to stderr: time, level, module, message."""
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    for noisy in ("uvicorn", "httpx", "httpcore"):
        # their INFO lines are about single requests; httpx logs URLs
        logging.getLogger(noisy).setLevel(logging.WARNING)
