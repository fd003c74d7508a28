"""Runs the MQTT broker of this process, and serves it to the services as their broker port.

No call on the broker's path leads to the store: the rights of an application follow from the
directory of nodes, which is in memory.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from broker import Broker, BrokerError, Identity, Limits, Listener, Message, Reason
from broker.journal import Journal, JournalError
from cloud.config import CloudMqttSettings
from cloud.errors import StartError
from cloud.listeners import cannot_listen
from cloud.metrics import Metrics
from cloud.mqtt.command_gate import CommandGate
from cloud.mqtt.policy import SESSIONS_PER_IDENTITY, TokenAuthenticator, TopicAuthorizer
from settings.addresses import format_address
from web import ServerCertificate


class EmbeddedClient:
    """A client of the embedded broker for one service."""

    def __init__(self, broker: Broker, name: str) -> None:
        self._broker = broker
        self._client = broker.local_client(name)
        self._removals: list[Callable[[], None]] = []

    def subscribe(self, topic_filter: str, receive: Callable[[Message], None]) -> None:
        """Receive every message whose topic matches a filter."""
        self._client.subscribe(topic_filter, receive)

    def publish_unstored(self, topic: str, payload: bytes, expiry_s: float) -> None:
        """Publish at QoS 1 a message that need not survive a restart."""
        self._client.publish(topic, payload, qos=1, expiry_s=expiry_s, stored=False)

    def notify_of_disconnects(self, notify: Callable[[Identity, Reason | None], None]) -> None:
        """Call a function with each identity that disconnects, and its reason."""
        self._removals.append(self._broker.hooks.on_disconnect(notify))

    def close(self) -> None:
        """Stop receiving."""
        for remove in self._removals:
            remove()
        self._client.close()


class EmbeddedBroker:
    """The adapter of the services' broker ports for a broker in the same process."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    @property
    def limits(self) -> Limits:
        """The limits per client and in total."""
        return self._broker.limits

    @property
    def listens_on(self) -> str:
        """The address that the broker listens on."""
        address = self._broker.addresses[0]
        return format_address(*address) if isinstance(address, tuple) else str(address)

    def open_client(self, name: str) -> EmbeddedClient:
        """Return a client for a service, to which no rights apply."""
        return EmbeddedClient(self._broker, name)

    def is_connected(self, node_id: str) -> bool:
        """Return whether a node is connected now."""
        return self._broker.is_connected(node_id)

    def has_room(self, node_id: str, size_bytes: int) -> bool:
        """Return whether the session of a node's uplink accepts one more message of QoS 1."""
        return self._broker.has_room(node_id, size_bytes)

    def remove_node(self, node_id: str) -> None:
        """Disconnect a node, and delete its sessions and its retained messages."""
        self._broker.revoke(node_id)

    def apply_changed_rights(self) -> None:
        """Check the rights of every client again, stored subscriptions included."""
        self._broker.rights_changed()

    async def check(self) -> str:
        """Return "" when the broker is well, or a reason."""
        journal = self._broker.store
        return "broker: its disk is full" if journal is not None and journal.is_full else ""

    def show_in(self, metrics: Metrics) -> None:
        """Show the numbers of the broker among the metrics."""
        metrics.watch("clients", "MQTT clients connected", lambda: len(self._broker.connected()))
        metrics.watch_broker(self._broker)


@contextlib.asynccontextmanager
async def running_broker(
    settings: CloudMqttSettings,
    certificate: ServerCertificate | None,
    journal_directory: Path,
    policy: tuple[TokenAuthenticator, TopicAuthorizer],
    node_limit: int,
    metrics: Metrics,
) -> AsyncIterator[EmbeddedBroker]:
    """Run a broker while the context lasts; StartError when it cannot start."""
    tls = certificate.context if certificate else None
    listener = Listener(settings.host, settings.port, tls=tls, websocket=True, plain_too=True)
    in_memory = settings.durability == "memory"
    broker = Broker(
        [listener],
        *policy,
        Limits(
            sessions_per_identity=SESSIONS_PER_IDENTITY,
            stored_sessions=node_limit + Limits().stored_sessions,
        ),
        store=None if in_memory else Journal(journal_directory, settings.durability),
        sys_interval_s=0,  # no client may read $SYS here
    )
    CommandGate(broker, metrics.commands_refused.inc)
    try:
        await broker.start()
    except JournalError as exc:
        raise StartError(str(exc)) from exc
    except BrokerError as exc:
        cause = exc.__cause__ or exc
        raise cannot_listen(listener.host, listener.port, cause, "mqtt") from exc
    try:
        yield EmbeddedBroker(broker)
    finally:
        await broker.stop()
