"""Holds the parts of uvicorn that serve; its command line is not imported."""

from settings.partial_imports import import_without

import_without("uvicorn", "main")

from uvicorn.config import Config  # noqa: E402  # the command line must be left out before
from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: E402
from uvicorn.server import Server  # noqa: E402

__all__ = ["Config", "H11Protocol", "Server"]
