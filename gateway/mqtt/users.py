"""Admits clients by a password file, tokens or certificates beside the gateway's own rules.

`[broker.access]` takes the keys of the standalone broker's `[access]`. The gateway's own names
(devices, containers, claims, the API key) stay its own: a user of these files never gets one, and
reaches no topic below `$`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from broker import Credentials, Identity, Refusal
from broker.access import AccessError
from broker.messages.topics import strip_share
from broker.policy import Accepted, AuthExchange, Step
from broker.standalone.conf.settings import AccessSettings
from broker.standalone.realms import Realm, RealmFiles
from gateway.mqtt.groups import GROUPS, USER
from protocol.ids import DEVICE_ID

logger = logging.getLogger(__name__)

RESERVED_NAMES = frozenset({"anonymous", "api", "claim", "join"})
RESERVED_PREFIXES = ("container:", "claim:", "join:")
POLL_S = 1.0  # a changed file is read when it has stood still from one look to the next

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class UserPorts:
    """The functions of the broker that a change of users calls."""

    rights_changed: Callable[[], None]
    cut: Callable[[str], int]  # by user name; the sessions stay
    revoke: Callable[[str], int]


class BrokerUsers:
    """The users and rights of `[broker.access]`."""

    def __init__(self, settings: AccessSettings) -> None:
        """Read the files; AccessError when one of them cannot be used."""
        tokens = settings.tokens
        self._files = [
            path
            for path in (settings.password_file, settings.acl_file, tokens.keys if tokens else None)
            if path is not None
        ]
        self._realm = Realm(settings)
        self._stamp = self._read_stamp()
        self._realm.take(self._realm.read())

    def authenticate(
        self, credentials: Credentials
    ) -> Identity | Refusal | Awaitable[Identity | Refusal]:
        """Return the identity of a login, or the refusal."""
        answer = self._realm.chain.authenticate(credentials)
        if isinstance(answer, Identity | Refusal):
            return _own(answer)
        return _wait(answer)

    def begin(self, method: str, credentials: Credentials) -> AuthExchange | None:
        """Return a new run of an authentication method; None when there is no such method."""
        exchange = self._realm.chain.begin(method, credentials)
        return None if exchange is None else _UserExchange(exchange)

    def may_publish(self, identity: Identity, topic: str) -> bool:
        """Return whether the access list lets a user write a topic."""
        return not topic.startswith("$") and self._realm.rights.may_publish(identity, topic)

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether the access list lets a user subscribe to a filter."""
        if strip_share(topic_filter).startswith("$"):
            return False
        return self._realm.rights.may_subscribe(identity, topic_filter)

    def may_read_all(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether the access list keeps nothing of an allowed filter from a user."""
        return self._realm.rights.may_read_all(identity, topic_filter)

    def may_read(self, identity: Identity, topic: str) -> bool:
        """Return whether the access list lets a user read a topic."""
        return self._realm.rights.may_read(identity, topic)

    def knows(self, identity: Identity) -> bool:
        """Return whether a user of an earlier run still exists."""
        return self._realm.knows(identity.name)

    async def follow(self, ports: UserPorts, poll_s: float = POLL_S) -> None:
        """Use changed files, until cancelled; a file with a fault changes nothing.

        Trap: a program may empty a file before it writes it, and an empty file takes all rights.
        """
        fault, stamp = "", self._stamp
        while True:
            await asyncio.sleep(poll_s)
            before, stamp = stamp, await asyncio.to_thread(self._read_stamp)
            if stamp == self._stamp or stamp != before:
                continue
            try:
                found = await asyncio.to_thread(self._realm.read)
            except AccessError as exc:
                if str(exc) != fault:
                    logger.error("users and rights stay as they were: %s", exc)  # noqa: TRY400  # the reason is all there is
                fault = str(exc)
                continue
            if await asyncio.to_thread(self._read_stamp) != stamp:
                continue  # it changed while it was read
            self._stamp, fault = stamp, ""
            self._take(found, ports)

    def close(self) -> None:
        """End the threads."""
        self._realm.close()

    def _take(self, found: RealmFiles, ports: UserPorts) -> None:
        changed = self._realm.take(found)
        ports.rights_changed()
        cut = sum((ports.cut if self._realm.has_user(n) else ports.revoke)(n) for n in changed)
        logger.info("read users and rights again; cut %d connections", cut)

    def _read_stamp(self) -> Stamp:
        stamps: list[tuple[int, int, int] | None] = []
        for path in self._files:
            try:
                stat = path.stat()
            except OSError:
                stamps.append(None)  # the reader names the fault
            else:
                stamps.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(stamps)


class _UserExchange:
    """An exchange that ends with an identity of the group `user`."""

    def __init__(self, exchange: AuthExchange) -> None:
        self._exchange = exchange

    async def step(self, data: bytes | None) -> Step:
        outcome = await self._exchange.step(data)
        if not isinstance(outcome, Accepted):
            return outcome
        identity = _own(outcome.identity)
        return identity if isinstance(identity, Refusal) else replace(outcome, identity=identity)


async def _wait(answer: Awaitable[Identity | Refusal]) -> Identity | Refusal:
    return _own(await answer)


def _own(answer: Identity | Refusal) -> Identity | Refusal:
    """Return an identity in the group `user`; a refusal of names and ids that are the gateway's."""
    if isinstance(answer, Refusal):
        return answer
    if answer.name in RESERVED_NAMES or _is_reserved(answer.name):
        logger.warning("cannot admit %.64r: the gateway reserves this user name", answer.name)
        return Refusal.BAD_CREDENTIALS
    if _is_reserved(answer.client_id):
        return Refusal.CLIENT_ID_NOT_VALID  # MQTT would close the connection of its owner
    # groups of a token must not make a person, a device or a container of a user
    return replace(answer, groups=(answer.groups - GROUPS) | {USER})


def _is_reserved(name: str) -> bool:
    return DEVICE_ID.match(name) is not None or name.startswith(RESERVED_PREFIXES)
