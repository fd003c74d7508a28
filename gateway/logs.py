"""Sets logging up; nothing else may."""

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure_logs(level: str) -> None:
    """Send the gateway's story to stderr."""
    logging.basicConfig(level=level.upper(), format=FORMAT, force=True)
    # they tell each request and connection; ours tell what it meant
    for chatty in ("httpx", "httpcore", "uvicorn", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
