"""Connects code in the same process to the broker, without sockets, packets or rights."""

import logging
from collections.abc import Callable
from dataclasses import replace

from broker.core import Core
from broker.messages.delivery import Encoder
from broker.messages.message import Message
from broker.messages.topics import SHARED, validate_filter, validate_topic
from broker.quota.log_limiter import LogLimiter
from broker.routing.router import Done
from broker.wire.errors import LocalProtocolError, RemoteProtocolError
from broker.wire.packets import Subscription
from broker.wire.property_values import Properties

logger = logging.getLogger(__name__)

TRACES = 5  # a minute of one local client: a fault of the program that peers can trigger

Handler = Callable[[Message], None]


class LocalClient:
    """Subscribes and publishes inside the broker; use it on the broker's loop only.

    Handlers run while the message is routed: they must not block; a message that they publish
    follows the message they handle. Messages come at the QoS and with the RETAIN flag they were
    published with; on subscribe() the retained ones come first, with retain set.
    """

    def __init__(self, core: Core, name: str, now: Callable[[], float]) -> None:
        self.name = name
        self._core = core
        self._now = now
        self._receivers: dict[str, _LocalReceiver] = {}

    def subscribe(self, topic_filter: str, handler: Handler) -> None:
        """Call handler for each message that matches; replaces the filter's last handler."""
        _check(validate_filter, topic_filter)
        if topic_filter.startswith(SHARED):
            raise LocalProtocolError("cannot subscribe: local clients have no shared subscriptions")
        self.unsubscribe(topic_filter)
        receiver = _LocalReceiver(self.name, handler, self._core.log_limiter)
        self._receivers[topic_filter] = receiver
        self._core.subscribe(receiver, Subscription(topic_filter, qos=2))
        for message in self._core.retained(topic_filter, self._now()):
            receiver.handle(message)

    def unsubscribe(self, topic_filter: str) -> None:
        """Stop; harmless when there is nothing to stop."""
        receiver = self._receivers.pop(topic_filter, None)
        if receiver is not None:
            self._core.unsubscribe(receiver, topic_filter)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        expiry_s: float | None = None,
        stored: bool = True,
    ) -> None:
        """Publish to all subscribers, those of the process included.

        Args:
            topic: the topic name, without wildcards.
            payload: the bytes of the message.
            qos: 0, 1 or 2.
            retain: keep the message for later subscribers.
            expiry_s: the time it may wait for its receivers; None is for ever.
            stored: False queues it in memory only; a retained message is always stored.
        """
        message = self._make(topic, payload, qos, retain=retain, expiry_s=expiry_s)
        self._core.publish(message, self._now(), stored=stored)

    def submit(
        self,
        topic: str,
        payload: bytes,
        done: Done,
        *,
        qos: int = 1,
        expiry_s: float | None = None,
    ) -> None:
        """Publish a message whose result matters.

        done is called once, now or later: with True when the message is as safe as the broker's
        durability demands, with False when it is not kept and may be submitted again.
        """
        message = self._make(topic, payload, qos, retain=False, expiry_s=expiry_s)
        self._core.publish(message, self._now(), done=done)

    def send(
        self,
        client_id: str,
        topic: str,
        payload: bytes,
        done: Done,
        *,
        user_properties: tuple[tuple[str, str], ...] = (),
    ) -> bool:
        """Give a message of QoS 1 to one session alone, whatever it subscribes to.

        Returns False when there is no such session or it has no room. Otherwise done is called as
        in submit().
        """
        message = self._make(topic, payload, 1, retain=False, expiry_s=None)
        if user_properties:
            message = replace(message, properties=Properties(user_properties=user_properties))
        return self._core.admin.send(client_id, message, self._now(), done)

    def _make(
        self, topic: str, payload: bytes, qos: int, *, retain: bool, expiry_s: float | None
    ) -> Message:
        _check(validate_topic, topic)
        if qos not in {0, 1, 2}:
            raise LocalProtocolError(f"cannot publish at QoS {qos}: there are 0, 1 and 2")
        expires_at = None if expiry_s is None else self._now() + expiry_s
        return Message(topic, payload, qos, retain, expires_at=expires_at)

    def close(self) -> None:
        """Drop all subscriptions."""
        for topic_filter in tuple(self._receivers):
            self.unsubscribe(topic_filter)


def _check(validate: Callable[[str], None], text: str) -> None:
    try:
        validate(text)
    except RemoteProtocolError as exc:  # here the caller is at fault
        raise LocalProtocolError(str(exc), exc.reason) from exc


class _LocalReceiver:
    """Receives for one subscription; overlapping filters of one client each get the message."""

    __slots__ = ("_handler", "_log_limiter", "_name")

    def __init__(self, name: str, handler: Handler, log_limiter: LogLimiter) -> None:
        self._name = name
        self._handler = handler
        self._log_limiter = log_limiter

    def deliver(self, encoder: Encoder, subscription: Subscription, now: float) -> None:  # noqa: ARG002
        """Take a message from the router."""
        self.handle(encoder.message)

    def handle(self, message: Message) -> None:
        """Call the handler; its failure must not affect the sender or other receivers."""
        keepers = message.hold.keepers if message.hold is not None else 0
        try:
            self._handler(message)
        except Exception:
            if self._log_limiter.may_log(self._name, "handler_failed", TRACES):
                logger.exception("handler of %s failed on %r", self._name, message.topic)
            if message.hold is not None and message.hold.keepers > keepers:
                message.hold.decline()  # it kept the message and will never release it
