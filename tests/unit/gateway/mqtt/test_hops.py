import logging

import pytest

from broker import ConnectingClient, Identity, Message, Properties, Refusal
from broker.wire import encode_packet
from broker.wire.packets import Publish
from gateway.mqtt.groups import CONTAINER
from gateway.mqtt.hops import LIMIT, NAMES, HopPolicy, read_hops
from microservice.mqtt.dead_letters import HOPS


def message(name: str, *pairs: tuple[str, str]) -> Message:
    properties = Properties(user_properties=pairs, content_type="x")
    return Message("t", b"p", 1, sender=f"container:{name}", properties=properties)


def in_flight(*hops: int) -> list[bytes]:
    return [
        encode_packet(
            Publish(
                "t", b"", 1, packet_id=number,
                properties=Properties(user_properties=((HOPS, str(each)),) if each else ()),
            ),
            5,
        )
        for number, each in enumerate(hops, 1)
    ]  # fmt: skip


def test_a_count_grows_by_one_and_other_properties_stay() -> None:
    policy = HopPolicy(lambda _: iter(()), lambda: 0.0)
    first = policy.check(message("a", ("unit", "C")))
    assert first is not None
    assert first.properties.user_properties == (("unit", "C"), (HOPS, "1"))
    assert first.properties.content_type == "x"
    second = policy.check(message("b", (HOPS, "1"), (HOPS, "0"), ("unit", "C")))
    assert second is not None
    assert second.properties.user_properties == (("unit", "C"), (HOPS, "2"))


@pytest.mark.parametrize(
    ("counts", "expected"), [((3, 5), 4), ((3, 0), 1), ((0, 3), 1), ((), 1), ((LIMIT,), None)]
)
def test_a_count_is_not_below_those_in_flight(
    counts: tuple[int, ...], expected: int | None
) -> None:
    policy = HopPolicy(lambda _: iter(in_flight(*counts)), lambda: 0.0)
    made = policy.check(message("a"))
    found = None if made is None else read_hops(made.properties.user_properties)
    assert found == expected


def test_a_chain_is_cut_with_one_warning_that_names_its_members(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    policy = HopPolicy(lambda _: iter(()), lambda: now)
    for _ in range(3):
        for hops in range(LIMIT + 3):
            policy.check(message("ab"[hops % 2], (HOPS, str(hops))))
    assert policy.cut == 3 * 3
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "a, b trigger each other" in caplog.text
    now = 1_000.0
    policy.check(message("a", (HOPS, str(LIMIT))))
    assert len(caplog.records) == 2


def test_a_thousand_containers_are_not_remembered_for_ever() -> None:
    policy = HopPolicy(lambda _: iter(()), lambda: 0.0)
    for number in range(1_000):
        policy.check(message(str(number), (HOPS, str(LIMIT))))
    assert len(policy._deep) <= NAMES
    assert len(policy._warned) <= NAMES


@pytest.mark.parametrize("text", ["", "-1", "x", "1e3", "99999999999999999999", "²"])
def test_a_count_that_makes_no_sense_is_none(text: str) -> None:
    assert read_hops(((HOPS, text),)) == 0


def test_a_container_needs_mqtt_5() -> None:
    policy = HopPolicy(lambda _: iter(()), lambda: 0.0)

    def arrival(version: int, *groups: str) -> ConnectingClient:
        identity = Identity("x", "x", frozenset(groups))
        return ConnectingClient(identity, "l", "", version, clean_start=True)

    assert policy.admit(arrival(4, CONTAINER)) is Refusal.NOT_AUTHORIZED
    assert policy.admit(arrival(5, CONTAINER)) is None
    assert policy.admit(arrival(4, "device")) is None
