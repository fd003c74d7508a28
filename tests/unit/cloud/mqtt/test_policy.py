import asyncio
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker import Credentials, Identity, Limits, Refusal
from cloud.mqtt.policy import APPLICATIONS, NODES, TokenAuthenticator, TopicAuthorizer, announce
from cloud.tokens.access import CloudCaller
from gateway.uplink.limits import find_fault
from protocol.errors import TokenError
from protocol.tokens import LEEWAY_S
from protocol.topics import uplinked

N, M, F = "a" * 56, "b" * 56, "f" * 56  # of account acc-1, too, foreign
OWNERS = {N: "acc-1", M: "acc-1", F: "acc-2"}
POLICY = TopicAuthorizer(lambda node_id: OWNERS.get(node_id, ""))
NODE = Identity(N, "c", NODES)
APPLICATION = Identity("acc-1", "c", APPLICATIONS)

CALLERS = {
    "node": CloudCaller(N, frozenset({"hec:node"}), N),
    "node without scope": CloudCaller(N, frozenset(), N),
    "application": CloudCaller("acc-1", frozenset({"hec:data"})),
    "bound application": CloudCaller("acc-1", frozenset({"hec:data"}), N),
    "account without data": CloudCaller("acc-1", frozenset({"hec:node"})),
}


def verify(token: str) -> CloudCaller:
    if token not in CALLERS:
        raise TokenError("cannot accept token: forged")
    return CALLERS[token]


def connect(username: str | None, password: bytes | None) -> Identity | Refusal:
    policy = TokenAuthenticator(verify, lambda: None)
    credentials = Credentials("c", username, password, "tcp", "127.0.0.1")
    return asyncio.run(policy.authenticate(credentials))


@pytest.mark.parametrize(
    ("username", "password", "groups"),
    [
        (N, b"node", NODES),
        ("acc-1", b"application", APPLICATIONS),
        ("acc-1", b"bound application", APPLICATIONS),
    ],
)
def test_admitted_connections(username: str, password: bytes, groups: frozenset[str]) -> None:
    answer = connect(username, password)
    assert isinstance(answer, Identity)
    assert (answer.name, answer.groups) == (username, groups)


@pytest.mark.parametrize(
    ("username", "password", "refusal"),
    [
        (None, None, Refusal.BAD_CREDENTIALS),
        (N, None, Refusal.BAD_CREDENTIALS),
        (N, b"forged", Refusal.BAD_CREDENTIALS),
        (N, b"\xff", Refusal.BAD_CREDENTIALS),
        (M, b"node", Refusal.BAD_CREDENTIALS),
        (None, b"node", Refusal.BAD_CREDENTIALS),
        (N, b"bound application", Refusal.BAD_CREDENTIALS),
        (N, b"node without scope", Refusal.NOT_AUTHORIZED),
        ("acc-1", b"account without data", Refusal.NOT_AUTHORIZED),
    ],
)
def test_refused_logins(username: str | None, password: bytes | None, refusal: Refusal) -> None:
    assert connect(username, password) is refusal


@pytest.mark.parametrize("token", ["node", "application"])
def test_a_connection_ends_with_its_token(token: str) -> None:
    caller = replace(CALLERS[token], expires_at=1000.0)
    policy = TokenAuthenticator(lambda _: caller, lambda: None)
    credentials = Credentials("c", caller.subject, b"x", "tcp", "127.0.0.1")
    answer = asyncio.run(policy.authenticate(credentials))
    assert isinstance(answer, Identity)
    assert answer.expires_at == 1000.0 + LEEWAY_S


def test_refusals_are_counted() -> None:
    refused: list[None] = []
    policy = TokenAuthenticator(verify, lambda: refused.append(None))
    asyncio.run(policy.authenticate(Credentials("c", N, b"forged", "tcp", "")))
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("identity", "topic", "allowed"),
    [
        (NODE, f"nodes/{N}/devices/x/readings/t", True),
        (NODE, f"nodes/{N}/downs", True),
        (NODE, f"nodes/{N}/down/x", False),
        (NODE, f"nodes/{N}/down", False),
        (NODE, f"nodes/{N}/", False),
        (NODE, f"nodes/{N}", False),
        (NODE, f"nodes/{M}/x", False),
        (NODE, f"$hec/sep/{N}/{M}/response/r", True),
        (NODE, f"$hec/sep/{N}/{M}/response/r/x", False),
        (NODE, f"$hec/sep/{M}/{N}/response/r", False),
        (NODE, f"$hec/sep/{N}/{M}/request", False),
        (NODE, "free", False),
        (NODE, "", False),
        (APPLICATION, f"nodes/{N}/down/devices/x/commands/c", True),
        (APPLICATION, f"nodes/{M}/down/x", True),
        (APPLICATION, f"nodes/{F}/down/x", False),
        (APPLICATION, f"nodes/{'9' * 56}/down/x", False),
        (APPLICATION, f"nodes/{N}/down", False),
        (APPLICATION, f"nodes/{N}/readings", False),
        (APPLICATION, f"other/{N}/down/x", False),
        (APPLICATION, f"$hec/sep/{N}/{N}/request", False),
        (APPLICATION, "nodes", False),
        (Identity(N, "c"), f"nodes/{N}/x", False),
        (Identity(N, "c", NODES | APPLICATIONS), f"nodes/{N}/x", False),
    ],
)
def test_rights_to_publish(identity: Identity, topic: str, *, allowed: bool) -> None:
    assert POLICY.may_publish(identity, topic) is allowed


@pytest.mark.parametrize(
    ("identity", "topic_filter", "allowed"),
    [
        (NODE, f"nodes/{N}/down/#", True),
        (NODE, f"nodes/{N}/down/devices/+/commands/#", True),
        (NODE, f"nodes/{N}/#", False),
        (NODE, f"nodes/{N}/+/x", False),
        (NODE, f"nodes/{M}/down/#", False),
        (NODE, "nodes/+/down/#", False),
        (NODE, f"$hec/sep/{N}/+/request", True),
        (NODE, f"$hec/sep/{N}/{M}/request", True),
        (NODE, f"$hec/sep/{N}/#", False),
        (NODE, f"$hec/sep/{N}/+/response/r", False),
        (NODE, f"$hec/sep/+/{N}/request", False),
        (NODE, f"$hec/sep/{M}/{N}/request", False),
        (NODE, "#", False),
        (APPLICATION, f"nodes/{N}/#", True),
        (APPLICATION, f"nodes/{N}/devices/+/readings/#", True),
        (APPLICATION, f"nodes/{F}/#", False),
        (APPLICATION, "nodes/+/#", False),
        (APPLICATION, "nodes/#", False),
        (APPLICATION, "#", False),
        (APPLICATION, f"+/{N}/x", False),
        (APPLICATION, f"$share/g/nodes/{F}/#", False),
        (APPLICATION, f"$hec/sep/{N}/+/request", False),
        (Identity(N, "c"), f"nodes/{N}/down/#", False),
    ],
)
def test_rights_to_subscribe(identity: Identity, topic_filter: str, *, allowed: bool) -> None:
    assert POLICY.may_subscribe(identity, topic_filter) is allowed


def test_rights_follow_the_account_of_the_node() -> None:
    owners = {N: ""}
    policy = TopicAuthorizer(lambda node_id: owners.get(node_id, ""))
    assert not policy.may_subscribe(APPLICATION, f"nodes/{N}/#")
    owners[N] = "acc-1"
    assert policy.may_subscribe(APPLICATION, f"nodes/{N}/#")


LEVEL = st.sampled_from(["down", "up", "", "a", "downs"])


# case G18
@given(st.lists(LEVEL, min_size=1, max_size=4).map("/".join))
@example("down")
@example("down/")
def test_a_topic_is_denied_by_the_broker_if_and_only_if_it_is_announced(topic: str) -> None:
    authorizer = TopicAuthorizer(lambda _node_id: "")
    allowed = authorizer.may_publish(Identity(N, N, NODES), uplinked(N, topic))
    assert allowed is not bool(find_fault(announce(Limits()), N, topic, 0))


def test_the_limits_of_the_broker_are_announced() -> None:
    announced = announce(Limits(topic_levels=7, topic_bytes=99, packet_bytes=1234))
    assert (announced.topic_levels, announced.topic_bytes, announced.packet_bytes) == (7, 99, 1234)
