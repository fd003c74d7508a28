"""Sets logging up; nothing else may."""

import logging
import sys


def set_up_logging(level: str) -> None:
    """Log to stderr: time, level, part, what happened."""
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    for noisy in ("uvicorn", "httpx", "httpcore"):
        # INFO of these is not our story; httpx logs URLs
        logging.getLogger(noisy).setLevel(logging.WARNING)
