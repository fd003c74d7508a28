"""Builds the gateway's broker: its journal, its rights, and its policy for containers."""

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from broker import Broker
from broker.journal import Journal
from gateway.config import EmbeddedBrokerSettings
from gateway.errors import ConfigError
from gateway.mqtt.access import Access
from gateway.mqtt.groups import CONTAINER
from gateway.mqtt.hops import HopPolicy
from gateway.mqtt.listeners import BrokerListeners

if TYPE_CHECKING:  # a gateway without [broker.access] does not load it
    from gateway.mqtt.users import BrokerUsers


def build_embedded_broker(
    settings: EmbeddedBrokerSettings, listeners: BrokerListeners, access: Access, state: Path
) -> Broker:
    """Return the broker, which does not listen yet."""
    journal = None
    if settings.durability != "memory":
        journal = Journal(state / "broker", settings.durability)
    # no client may read $SYS here: the gateway has a status and metrics of its own
    limits = settings.limits.build()
    broker = Broker(listeners.listeners, access, access, limits, store=journal, sys_interval_s=0)
    hops = HopPolicy(broker.in_flight, time.monotonic)
    broker.hooks.on_connect(hops.admit)
    broker.hooks.on_publish("#", hops.check, between=CONTAINER)
    return broker


def open_users(settings: EmbeddedBrokerSettings, stack: AsyncExitStack) -> "BrokerUsers | None":
    """Return the users of [broker.access], None without it; ConfigError for a bad file."""
    if settings.access is None:
        return None
    from broker.access import AccessError
    from gateway.mqtt.users import BrokerUsers

    try:
        users = BrokerUsers(settings.access)
    except AccessError as exc:
        raise ConfigError(f"{exc}, given in [broker.access]") from exc
    stack.callback(users.close)
    return users
