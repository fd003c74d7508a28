"""Serves the standalone broker's HTTP endpoints: /metrics and /healthz."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from broker import Broker
from broker.metrics import BrokerCollector
from broker.standalone import MetricsSettings
from gateway.sidecar.server import listen_tcp, make_server, serve
from web.addresses import is_loopback_host
from web.host_guard import HostGuard
from web.origins import HostPolicy

if TYPE_CHECKING:
    from web.asgi import App


def make_app(broker: Broker) -> Starlette:
    """Return the HTTP application; it runs on the broker's loop and reads when it is asked."""
    registry = CollectorRegistry()
    registry.register(BrokerCollector(broker))

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})  # the loop turns, and listens

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", healthz)])


@contextlib.asynccontextmanager
async def serving(broker: Broker, settings: MetricsSettings) -> AsyncIterator[tuple[str, int]]:
    """Answer while the context lasts; gives the address.

    Raises:
        GatewayError: the port cannot be had.
    """
    listener = listen_tcp(settings.host, settings.port, setting="--metrics or [metrics] address")
    app: App = make_app(broker)
    if is_loopback_host(settings.host):  # no page of another site may read it
        app = HostGuard(app, HostPolicy(tuple, "[metrics]"))
    task = asyncio.create_task(serve(make_server(app), listener))
    try:
        yield listener.getsockname()[:2]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
