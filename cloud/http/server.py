"""Runs the HTTP server of the cloud on a socket that is already bound."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial

from fastapi import FastAPI

from cloud.config import ApiSettings
from cloud.metrics import Metrics
from web import HttpLimits, HttpServer, ServerCertificate

STOP_S = 2  # of the 5 s in which the process must have ended; broker and relay need some


@contextlib.asynccontextmanager
async def running_server(
    app: FastAPI,
    listener: socket.socket,
    settings: ApiSettings,
    certificate: ServerCertificate | None,
    metrics: Metrics,
    before_stop: Callable[[], None],
) -> AsyncIterator[None]:
    """Serve an application while the context lasts; call before_stop, then end open requests."""
    server = HttpServer(
        app,
        HttpLimits.of(settings.connection_limit, STOP_S),
        certificate.context if certificate else None,
        settings.trusted_proxies,
    )
    for name in server.bounds.counts():
        help_text = f"HTTP: {name.replace('_', ' ')}"
        metrics.watch(f"api_{name}", help_text, partial(_count, server, name))
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve([listener]), name="api")
        try:
            await _until_started(server, serving)
            yield
        finally:
            before_stop()
            server.stop()
            await asyncio.wait({serving})


def _count(server: HttpServer, name: str) -> float:
    return server.bounds.counts()[name]


async def _until_started(server: HttpServer, serving: asyncio.Task[None]) -> None:
    started = asyncio.ensure_future(server.listening.wait())
    await asyncio.wait({started, serving}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
