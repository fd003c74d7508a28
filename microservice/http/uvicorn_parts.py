"""Holds the parts of uvicorn that serve; its command line is not imported."""

from settings.partial_imports import import_without

import_without("uvicorn", "main")

# Config imports these three later; here the forks of the warm parent share their pages
import uvicorn.lifespan.off  # noqa: E402  # the command line must be left out before
import uvicorn.loops.asyncio  # noqa: E402
import uvicorn.protocols.http.h11_impl  # noqa: E402, F401
from uvicorn.config import Config  # noqa: E402
from uvicorn.server import Server  # noqa: E402

__all__ = ["Config", "Server"]
