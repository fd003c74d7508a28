"""Calls the hooks of an embedding program: connect, publish, subscribe, disconnect.

Theory of operation
-------------------
Hooks are plain functions, called on the broker's loop between a packet and its answer: they decide
at once and do no I/O. A program that must wait for an answer uses the Authenticator; one that must
store a message first subscribes a local client and keeps its Hold. Four rules:

1. A hook is called last: packets that are malformed, not allowed or beyond a limit never reach it.
2. A hook can restrict, not extend: a refusal by the rights stands.
3. A hook that fails refuses its packet and is logged; no connection is closed.
4. Without hooks nothing is called. A hook on publishes makes the topics it matches "not plain"
   when their route is built; all others stay on the fast paths.

No hook is called for local clients, which belong to the program.
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
from broker.sessions.route import Receiver, Receivers
from broker.sessions.session import Session
from broker.sessions.shared_group import SharedGroup
from broker.wire.errors import LocalProtocolError, RemoteProtocolError
from broker.wire.packets import Subscription
from broker.wire.reasons import Reason

logger = logging.getLogger(__name__)

MAX_QOS = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ConnectingClient:
    """A client that is authenticated and about to be admitted."""

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
    """Keeps the hooks of one broker; each method that adds one returns a function to remove it."""

    def __init__(
        self, counters: BrokerCounters, log_limiter: LogLimiter, changed: Callable[[], None]
    ) -> None:
        self._counters = counters
        self._log_limiter = log_limiter
        self._changed = changed  # called when routes must be built again
        self._connect: list[ConnectHook] = []
        self._publish: list[tuple[str, PublishHook, str]] = []  # with filter and group
        self._subscribe: list[SubscribeHook] = []
        self._disconnect: list[DisconnectHook] = []

    def on_connect(self, hook: ConnectHook) -> Remove:
        """Call hook before a client is admitted; it returns None or the Refusal for the CONNACK."""
        return _add(self._connect, hook)

    def on_publish(self, topic_filter: str, hook: PublishHook, *, between: str = "") -> Remove:
        """Call hook for each message, wills included, whose topic matches the filter.

        With between, a group of identities, it is called only for messages of its members that
        go to a member's session; all others stay on the fast paths.

        The hook returns the message, or a changed one (dataclasses.replace), to let it pass; None
        to drop it and acknowledge success; a Reason from 0x80 on to refuse it (MQTT 3.1.1 has no
        code for that, its clients get success); or NO_ROOM. Of several hooks each gets the result
        of the one before.

        Raises:
            LocalProtocolError: the filter is not valid.
        """
        try:
            validate_filter(topic_filter)
        except RemoteProtocolError as exc:  # here the caller is at fault
            raise LocalProtocolError(str(exc), exc.reason) from exc
        remove = _add(self._publish, (topic_filter, hook, between))
        self._changed()

        def remove_and_forget() -> None:
            remove()
            self._changed()

        return remove_and_forget

    def on_subscribe(self, hook: SubscribeHook) -> Remove:
        """Call hook for each subscription; it returns the highest QoS, or a Reason from 0x80 on."""
        return _add(self._subscribe, hook)

    def on_disconnect(self, hook: DisconnectHook) -> Remove:
        """Call hook when an admitted client disconnects, with the reason; None: connection lost."""
        return _add(self._disconnect, hook)

    # -- called by the broker -----------------------------------------------------------------

    @property
    def has_connect_hooks(self) -> bool:
        """True when a connect hook is registered."""
        return bool(self._connect)

    def refuse_connect(self, client: ConnectingClient) -> Refusal | None:
        """Return the reason to refuse a client; None admits it."""
        name = client.identity.name
        failed: Refusal | None = Refusal.SERVER_UNAVAILABLE
        for hook in self._connect:
            refusal = self._call("connect", name, failed, _ask_connect, hook, client)
            if refusal is not None:
                return refusal
        return None

    def find_publish(
        self, topic: str, publisher: Identity, receivers: Receivers | None = None
    ) -> tuple[PublishHook, ...]:
        """Return the hooks for messages of a topic; receivers are None while not known."""
        if not self._publish:
            return ()
        return tuple(
            hook
            for wanted, hook, group in self._publish
            if is_match(wanted, topic) and (not group or _is_between(group, publisher, receivers))
        )

    def screen(
        self, message: Message, hooks: tuple[PublishHook, ...]
    ) -> Message | Reason | NoRoom | None:
        """Return the result of the hooks for a message; they cannot change its sender."""
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
        """Return the QoS to grant, or the Reason of a refusal."""
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
        """Call the hooks for a client that has disconnected."""
        for hook in self._disconnect:
            self._call("disconnect", identity.name, None, hook, identity, reason)

    def _call(
        self, name: str, peer: str, otherwise: T, hook: Callable[..., T], *arguments: object
    ) -> T:
        try:
            return hook(*arguments)
        except Exception:
            self._counters.refuse(f"{name}_hook_failed")
            if self._log_limiter.may_log(peer, f"{name}_hook_failed"):
                logger.exception("%s hook failed on %.64r", name, peer)
            return otherwise


def _is_between(group: str, publisher: Identity, receivers: Receivers | None) -> bool:
    if group not in publisher.groups:
        return False
    return receivers is None or any(group in _groups_of(each) for each, _ in receivers)


def _groups_of(receiver: Receiver) -> frozenset[str]:
    if isinstance(receiver, SharedGroup):
        return frozenset().union(*(_groups_of(each) for each in receiver.members))
    return receiver.owner.groups if isinstance(receiver, Session) else frozenset()


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


def _ask_connect(hook: ConnectHook, client: ConnectingClient) -> Refusal | None:
    refusal = hook(client)
    return None if refusal is None else Refusal(refusal)


def _add(hooks: list[T], hook: T) -> Remove:
    hooks.append(hook)

    def remove() -> None:
        if hook in hooks:
            hooks.remove(hook)

    return remove
