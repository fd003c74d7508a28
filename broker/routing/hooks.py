"""Calls the hooks of an embedding program: connect, publish, subscribe, disconnect.

Theory of operation
-------------------
Hooks are plain functions, called on the broker's loop between a packet and its answer: they decide
at once, and do no I/O. Who must wait for an answer asks in the Authenticator; who must store a
message first subscribes a local client and keeps its Hold. Four rules:

1. A hook is asked last: what is malformed, not allowed or beyond a limit never reaches it.
2. It can take away, not give: a refusal by the rights stands.
3. One that fails refuses what it was asked about, is logged, and closes nothing.
4. Without hooks nothing is called. A hook on publishes makes the topics it matches "not plain"
   when their route is built; all others stay on the hot path.

Local clients are the program's own, and are not asked about.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from broker.messages.message import NO_ROOM, Message, NoRoom, PublishHook
from broker.messages.topics import is_match, validate_filter, validate_topic
from broker.policy import Identity, Refusal
from broker.quota.counters import BrokerCounters
from broker.quota.log_limiter import LogLimiter
from broker.wire.errors import LocalProtocolError, RemoteProtocolError
from broker.wire.packets import Subscription
from broker.wire.reasons import Reason

logger = logging.getLogger(__name__)

MAX_QOS = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ConnectingClient:
    """A client that was authenticated and is about to be let in."""

    identity: Identity
    listener: str
    peer: str  # address without port, "" over a Unix socket
    version: int  # 3, 4 or 5
    clean_start: bool


ConnectHook = Callable[[ConnectingClient], Refusal | None]
SubscribeHook = Callable[[Identity, Subscription], int]
DisconnectHook = Callable[[Identity, Reason | None], None]
Remove = Callable[[], None]


class Hooks:
    """The hooks of one broker; each way to add one returns what takes it away again."""

    def __init__(
        self, counters: BrokerCounters, log_limiter: LogLimiter, changed: Callable[[], None]
    ) -> None:
        self._counters = counters
        self._log_limiter = log_limiter
        self._changed = changed  # routes must be built anew
        self._connect: list[ConnectHook] = []
        self._publish: list[tuple[str, PublishHook]] = []
        self._subscribe: list[SubscribeHook] = []
        self._disconnect: list[DisconnectHook] = []

    def on_connect(self, hook: ConnectHook) -> Remove:
        """Ask before a client is let in: None, or a Refusal that its CONNACK says."""
        return _add(self._connect, hook)

    def on_publish(self, topic_filter: str, hook: PublishHook) -> Remove:
        """Ask about each message, wills included, whose topic matches the filter.

        The hook returns the message, or a changed one (dataclasses.replace), to let it pass; None
        to drop it, with success told; a Reason from 0x80 on to refuse it, of which MQTT 3.1.1
        has no word, so that its clients are told success; or NO_ROOM. Of several hooks each is
        given what the one before returned.

        Raises:
            LocalProtocolError: the filter is none.
        """
        try:
            validate_filter(topic_filter)
        except RemoteProtocolError as exc:  # here the fault is our caller's
            raise LocalProtocolError(str(exc), exc.reason) from exc
        remove = _add(self._publish, (topic_filter, hook))
        self._changed()

        def remove_and_forget() -> None:
            remove()
            self._changed()

        return remove_and_forget

    def on_subscribe(self, hook: SubscribeHook) -> Remove:
        """Ask about each subscription: the highest QoS to grant, or a Reason from 0x80 on."""
        return _add(self._subscribe, hook)

    def on_disconnect(self, hook: DisconnectHook) -> Remove:
        """Tell when one that was let in has gone: why, or None when the connection just ended."""
        return _add(self._disconnect, hook)

    # -- asked by the broker -----------------------------------------------------------------

    @property
    def has_connect_hooks(self) -> bool:
        """True when a connect hook is registered."""
        return bool(self._connect)

    def refuse_connect(self, arrival: ConnectingClient) -> Refusal | None:
        """Return why a client may not come in, None when it may."""
        who = arrival.identity.name
        failed: Refusal | None = Refusal.SERVER_UNAVAILABLE
        for hook in self._connect:
            refusal = self._call("connect", who, failed, _ask_connect, hook, arrival)
            if refusal is not None:
                return refusal
        return None

    def find_publish(self, topic: str) -> tuple[PublishHook, ...]:
        """Return the hooks that want to see messages of a topic."""
        if not self._publish:
            return ()
        return tuple(hook for wanted, hook in self._publish if is_match(wanted, topic))

    def screen(
        self, message: Message, hooks: tuple[PublishHook, ...]
    ) -> Message | Reason | NoRoom | None:
        """Return what the hooks make of a message; who sent it is not theirs to change."""
        kept = message
        failed: Message | Reason | NoRoom | None = Reason.IMPLEMENTATION_SPECIFIC
        for hook in hooks:
            made = self._call("publish", message.sender, failed, _ask_publish, hook, kept)
            if not isinstance(made, Message):
                return made
            kept = made
        if kept is message:
            return message
        return replace(kept, sender=message.sender, publisher=message.publisher, hold=message.hold)

    def grant(self, identity: Identity, subscription: Subscription) -> int:
        """Return the QoS to grant, or the Reason why not."""
        granted = subscription.qos
        failed: int = Reason.IMPLEMENTATION_SPECIFIC
        for hook in self._subscribe:
            code = self._call(
                "subscribe", identity.name, failed, _ask_subscribe, hook, identity, subscription
            )
            if code >= Reason.UNSPECIFIED_ERROR:
                return code
            granted = min(granted, max(code, 0))
        return granted

    def notify_disconnect(self, identity: Identity, reason: Reason | None) -> None:
        """Tell that a client has gone."""
        for hook in self._disconnect:
            self._call("disconnect", identity.name, None, hook, identity, reason)

    def _call(
        self, name: str, who: str, otherwise: T, hook: Callable[..., T], *arguments: object
    ) -> T:
        try:
            return hook(*arguments)
        except Exception:
            self._counters.refuse(f"{name}_hook_failed")
            if self._log_limiter.may_log(who, f"{name}_hook_failed"):
                logger.exception("%s hook failed on %.64r", name, who)
            return otherwise


def _ask_publish(hook: PublishHook, message: Message) -> Message | Reason | NoRoom | None:
    made = hook(message)
    if made is None or made is NO_ROOM:
        return made
    if not isinstance(made, Message):
        reason = Reason(made)
        if reason < Reason.UNSPECIFIED_ERROR:
            raise ValueError(f"a publish is not refused by {reason.name}")
        return reason
    validate_topic(made.topic)
    if made.qos not in range(MAX_QOS + 1):
        raise ValueError(f"there is no QoS {made.qos}")
    return made


def _ask_subscribe(hook: SubscribeHook, identity: Identity, subscription: Subscription) -> int:
    code = int(hook(identity, subscription))
    return Reason(code) if code >= Reason.UNSPECIFIED_ERROR else code


def _ask_connect(hook: ConnectHook, arrival: ConnectingClient) -> Refusal | None:
    refusal = hook(arrival)
    return None if refusal is None else Refusal(refusal)


def _add(hooks: list[T], hook: T) -> Remove:
    hooks.append(hook)

    def remove() -> None:
        if hook in hooks:
            hooks.remove(hook)

    return remove
