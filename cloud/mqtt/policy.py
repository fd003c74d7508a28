"""Authorises clients of the cloud's broker (docs/protocol.md, "Cloud MQTT"); the default denies.

A connection ends with the token by which it was made. The registry disconnects a node that it
deletes. Rights are asked for on the broker's path, so that every callable here answers from
memory, without I/O.

Client ids are free within one identity: a session is named by both, so that no client keeps
another identity's client out by its client id. The session of a node's uplink is named by its node
id alone.
"""

import logging
from collections.abc import Callable

from broker import Credentials, Identity, Limits, Refusal
from cloud.tokens.access import DATA, NODE, CloudCaller
from protocol.errors import TokenError
from protocol.ids import NODE_ID
from protocol.mqtt_limits import MqttLimits
from protocol.tokens import LEEWAY_S

logger = logging.getLogger(__name__)

NODES = frozenset({"node"})
APPLICATIONS = frozenset({"application"})

SESSIONS_PER_IDENTITY = 64  # stored for one node or account: strangers may not fill the broker

Verify = Callable[[str], CloudCaller]
AccountOf = Callable[[str], str]


class TokenAuthenticator:
    """Admits clients whose password is an access token and whose user name is its subject."""

    def __init__(
        self,
        verify: Verify,
        refused: Callable[[], None],
        is_registered: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._verify, self._refused, self._is_registered = verify, refused, is_registered

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        """Return the identity of a client, or the reason for refusing it."""
        answer = self._check(credentials)
        if not isinstance(answer, Identity):
            self._refused()
            logger.info("refused MQTT client %.40r: %s", credentials.client_id, answer.name)
        return answer

    def _check(self, credentials: Credentials) -> Identity | Refusal:
        try:
            caller = self._verify((credentials.password or b"").decode("ascii"))
        except (TokenError, UnicodeDecodeError):
            return Refusal.BAD_CREDENTIALS
        if credentials.username != caller.subject:
            return Refusal.BAD_CREDENTIALS
        ends = None if caller.expires_at is None else caller.expires_at + LEEWAY_S
        session = name_session(caller.subject, credentials.client_id)
        if caller.is_node and NODE in caller.scopes:
            keeps = self._is_registered(
                caller.subject
            )  # the number of registered nodes has a bound
            return Identity(caller.subject, session, NODES, ends, keeps_session=keeps)
        if not caller.is_node and DATA in caller.scopes:
            return Identity(caller.subject, session, APPLICATIONS, ends)
        return Refusal.NOT_AUTHORIZED


class TopicAuthorizer:
    """Allows nodes their own topics, and applications those of their account's nodes."""

    def __init__(self, account_of: AccountOf) -> None:
        self._account_of = account_of

    def may_publish(self, identity: Identity, topic: str) -> bool:
        """Return whether a client may publish to a topic."""
        if identity.groups == NODES:
            return _is_uplink(identity.name, topic) or _is_answer(identity.name, topic)
        if identity.groups == APPLICATIONS:
            levels = topic.split("/")
            return levels[2:3] == ["down"] and len(levels) > 3 and self._owns(identity, levels)
        return False

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether a client may subscribe to a filter; it may match no foreign topic."""
        levels = topic_filter.split("/")
        if identity.groups == NODES:
            return _is_downlink(identity.name, levels) or _is_request(identity.name, levels)
        if identity.groups == APPLICATIONS:
            return len(levels) > 2 and self._owns(identity, levels)
        return False

    def _owns(self, identity: Identity, levels: list[str]) -> bool:
        # A wildcard is no node id: a filter with one in that place is denied.
        if levels[0] != "nodes" or not NODE_ID.fullmatch(levels[1]):
            return False
        return self._account_of(levels[1]) == identity.name


def name_session(subject: str, client_id: str) -> str:
    """Return the name of a client's session; an assigned client id is the name itself."""
    if client_id == subject or client_id.startswith(f"{subject}/"):
        return client_id
    return f"{subject}/{client_id}"


def announce(limits: Limits) -> MqttLimits:
    """Return the limits for nodes: those of the broker, and the topics that _is_uplink() denies."""
    return MqttLimits(
        topic_levels=limits.topic_levels,
        topic_bytes=limits.topic_bytes,
        packet_bytes=limits.packet_bytes,
        denied=("down/#",),  # the filter matches "down", too
    )


def _is_uplink(node_id: str, topic: str) -> bool:
    own = f"nodes/{node_id}/"
    return topic.startswith(own) and len(topic) > len(own) and not _is_down(topic[len(own) :])


def _is_down(rest: str) -> bool:
    return rest == "down" or rest.startswith("down/")


def _is_answer(node_id: str, topic: str) -> bool:
    levels = topic.split("/")
    return len(levels) == 6 and levels[:3] == ["$hec", "sep", node_id] and levels[4] == "response"


def _is_downlink(node_id: str, levels: list[str]) -> bool:
    return len(levels) > 3 and levels[:3] == ["nodes", node_id, "down"]


def _is_request(node_id: str, levels: list[str]) -> bool:
    if len(levels) != 5 or levels[:3] != ["$hec", "sep", node_id] or levels[4] != "request":
        return False
    return levels[3] == "+" or NODE_ID.fullmatch(levels[3]) is not None
