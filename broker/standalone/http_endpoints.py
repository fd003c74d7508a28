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

from broker import Broker, BrokerError
from broker.metrics import BrokerCollector
from broker.standalone.conf.settings import MetricsEndpointSettings
from web import HttpLimits, HttpServer, ListenError, listen_tcp
from web.addresses import is_loopback_host
from web.browsers.host_guard import HostGuard
from web.browsers.origins import HostPolicy

if TYPE_CHECKING:
    from web.asgi import App

LIMITS = HttpLimits.of(512, stop_s=1)  # the connections of scrapers


def make_app(broker: Broker) -> Starlette:
    """Return the HTTP application; it reads the broker at each request, on the broker's loop."""
    registry = CollectorRegistry()
    registry.register(BrokerCollector(broker))

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})  # it answers, so the loop runs

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", healthz)])


@contextlib.asynccontextmanager
async def serving(
    broker: Broker, settings: MetricsEndpointSettings
) -> AsyncIterator[tuple[str, int]]:
    """Serve the endpoints while the context lasts; yield the address.

    Raises:
        BrokerError: the address cannot be listened on.
    """
    try:
        listener = listen_tcp(settings.host, settings.port)
    except ListenError as exc:
        hint = "; set --metrics or [metrics] address" if exc.is_setting_wrong else ""
        raise BrokerError(f"{exc}{hint}") from exc
    app: App = make_app(broker)
    if is_loopback_host(settings.host):  # or a page of another site could read it
        app = HostGuard(app, HostPolicy(tuple, "[metrics]"))
    task = asyncio.create_task(HttpServer(app, LIMITS).run_on(listener))
    try:
        yield listener.getsockname()[:2]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
