"""Configures logging for the whole process."""

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure_logs(level: str) -> None:
    """Write log lines of a level and above to stderr."""
    logging.basicConfig(level=level.upper(), format=FORMAT, force=True)
    # they log each request and connection
    for verbose in ("httpx", "httpcore", "uvicorn", "asyncio"):
        logging.getLogger(verbose).setLevel(logging.WARNING)
    logging.getLogger("bthome_ble").setLevel(logging.CRITICAL)  # it logs what strangers send
