"""Builds the client of the cloud's API for app.py."""

import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.cloud_api.clock import CloudClock
from gateway.config import CloudSettings
from gateway.tls import client_context
from protocol.keys import NodeKey
from web.addresses import is_loopback_host

if TYPE_CHECKING:  # a node without a cloud does not load it
    from gateway.cloud_api.client import CloudApi

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
