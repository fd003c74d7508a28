"""Builds the client of the cloud's API, and the uplink, for app.py."""

import hashlib
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broker import Broker
from gateway.cloud_api.clock import CloudClock
from gateway.config import CloudSettings, GatewayConfig
from gateway.node.account import Account
from gateway.tls import client_context
from protocol.keys import NodeKey
from web.addresses import is_loopback_host

if TYPE_CHECKING:  # a node without a cloud does not load it
    from gateway.cloud_api.client import CloudApi
    from gateway.spool.spool import Spool
    from gateway.uplink.uplink import NodePorts, Uplink

logger = logging.getLogger(__name__)


def build_api(
    settings: CloudSettings, key: NodeKey, clock: CloudClock, stack: AsyncExitStack
) -> "CloudApi":
    """Return the client; the stack closes it."""
    from gateway.cloud_api.client import CloudApi
    from gateway.cloud_api.http_proxy import find_proxy

    scheme, host = urlsplit(settings.url).scheme, urlsplit(settings.url).hostname or ""
    tls = client_context(settings.ca_file) if settings.tls else None
    if not settings.tls and not is_loopback_host(host):
        logger.warning("the link to %s is not encrypted: use https", settings.url)
    proxy = find_proxy(settings.proxy, scheme, host)
    api = CloudApi(settings.url, key, tls, clock, proxy)
    stack.push_async_callback(api.close)
    return api


def build_uplink(
    config: GatewayConfig,
    account: Account,
    broker: Broker,
    passes: "tuple[CloudApi, Spool]",
    ports: "NodePorts",
) -> "Uplink":
    """Return the link to the cloud's broker."""
    from gateway.cloud_api.http_proxy import find_proxy
    from gateway.uplink.connection import Endpoint
    from gateway.uplink.rules import Rules
    from gateway.uplink.uplink import Uplink, UplinkParts

    settings, (api, spool) = config.cloud, passes
    tls = client_context(settings.ca_file) if settings.tls else None
    host, port = settings.mqtt_address
    proxy = find_proxy(settings.proxy, urlsplit(settings.url).scheme, host)
    local = broker.local_client("uplink")
    parts = UplinkParts(api, account, Rules(config.uplink.topics), spool, local)
    return Uplink(Endpoint(host, port, tls, proxy), ports, parts)


def name_cloud(url: str) -> str:
    """Return a name of the cloud that peers can compare; "" for none."""
    return hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16] if url else ""
