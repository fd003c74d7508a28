"""Discovery stands strangers' announcements: malformed texts, and any number of names."""

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import ServiceStateChange

from gateway.cluster.discovery import service as module
from gateway.cluster.discovery.service import DiscoveryPorts, NodeDiscovery, usable_addresses
from gateway.cluster.discovery.txt import (
    SERVICE_TYPE,
    Announcement,
    decode_txt,
    encode_txt,
    instance_name,
    node_id_of,
)
from gateway.cluster.election.heartbeat import Role
from gateway.cluster.links.candidates import ADDRESSES_LIMIT, CANDIDATES_LIMIT, Candidates

OWN, PEER = "a" * 56, "b" * 56
PHANTOMS = 10_000


def encoded(announcement: Announcement) -> dict[bytes, bytes | None]:
    return {k.encode(): v.encode() for k, v in encode_txt(announcement).items()}


def phantom(number: int) -> str:
    return f"{number:056x}"


def test_an_announcement_survives_its_record_with_unknown_keys() -> None:
    announcement = Announcement(PEER, Role.MEMBER, OWN)
    assert decode_txt({**encoded(announcement), b"new": b"\xff"}) == announcement


@pytest.mark.parametrize(
    "change",
    [
        {b"id": None}, {b"id": b""}, {b"id": b"x" * 56}, {b"id": b"\xff" * 56}, {b"id": b"b" * 57},
        {b"v": None}, {b"v": b""}, {b"v": b"-1"}, {b"v": b"1" * 9}, {b"v": "²".encode()},
        {b"super": b"nobody"}, {b"super": b"\x00"}, {b"role": b"r" * 200},
    ],
)  # fmt: skip
def test_a_malformed_record_is_ignored(change: dict[bytes, bytes | None]) -> None:
    assert decode_txt({**encoded(Announcement(PEER)), **change}) is None


def test_an_unknown_role_of_a_later_version_is_no_fault() -> None:
    found = decode_txt({**encoded(Announcement(PEER)), b"role": b"regent", b"v": b"2"})
    assert found == Announcement(PEER, Role.LISTENING, "", 2)


@given(
    st.dictionaries(
        st.sampled_from([b"id", b"v", b"role", b"super"]) | st.binary(max_size=8),
        st.none() | st.binary(max_size=300),
    )
)
def test_any_record_is_an_announcement_or_ignored(pairs: dict[bytes, bytes | None]) -> None:
    found = decode_txt(pairs)
    assert found is None or len(found.node_id) == 56


@given(st.text(max_size=200))
def test_any_name_is_a_nodes_or_not(name: str) -> None:
    assert node_id_of(name) in ("", name.partition(".")[0])
    assert node_id_of(instance_name(PEER)) == PEER


class SlowNetwork:
    """Resolves nothing, for ever."""

    def __init__(self, *_: object) -> None: ...

    async def async_request(self, *_: object) -> bool:
        await asyncio.sleep(3600)
        return False


def test_ten_thousand_phantoms_are_bounded_counted_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        monkeypatch.setattr(module, "AsyncServiceInfo", SlowNetwork)
        ports = DiscoveryPorts(
            lambda: Announcement(OWN), lambda: False, lambda _found, _addresses: None
        )
        discovery = NodeDiscovery(OWN, 8084, 0, ports)
        added = ServiceStateChange.Added
        for number in range(PHANTOMS):
            name = instance_name(phantom(number))
            discovery._notice(None, SERVICE_TYPE, name, added)  # type: ignore[arg-type]
            await asyncio.sleep(0)
        assert len(discovery._resolving) <= module.RESOLVES_AT_ONCE
        assert len(discovery._waiting) <= module.WAITING_LIMIT
        waiting = module.WAITING_LIMIT + module.RESOLVES_AT_ONCE
        assert PHANTOMS - waiting <= discovery.ignored < PHANTOMS
        for task in discovery._resolving:
            task.cancel()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert len([r for r in caplog.records if "is ignored" in r.getMessage()]) == 1


def test_ten_thousand_phantoms_take_no_place_of_configured_and_linked_nodes() -> None:
    candidates = Candidates(OWN, ["10.0.0.2:8084"])
    candidates.note(PEER, ("10.0.0.3:8084",), 0.0)
    for number in range(PHANTOMS):
        places = [f"10.1.{number % 250}.{i}:8084" for i in range(20)]
        candidates.note(phantom(number), places, 1.0, kept=(PEER,))
    assert candidates.addresses(PEER) == ("10.0.0.3:8084",)
    due = list(candidates.due(2.0, (PEER,), ()))
    assert len(due) == CANDIDATES_LIMIT - 1 + 1  # the phantoms, and the configured one
    assert ("10.0.0.2:8084", "", ("10.0.0.2:8084",)) in due
    assert all(len(addresses) <= ADDRESSES_LIMIT for _, _, addresses in due)
    full = Candidates(OWN)
    linked = [phantom(number) for number in range(CANDIDATES_LIMIT)]
    for node_id in linked:
        full.note(node_id, ("10.0.0.4:8084",), 0.0, kept=linked)
    full.note(PEER, ("10.0.0.3:8084",), 1.0, kept=linked)
    assert full.refused == 1
    assert full.addresses(PEER) == ()


@pytest.mark.parametrize(
    ("pairs", "is_read"),
    [
        ({b"ID": PEER.encode(), b"V": b"1"}, True),  # keys have no case (RFC 6763, 6.4)
        ({b"id": PEER.encode(), b"v": b"1", b"ID": b"x", b"V": None}, True),  # the first counts
        ({b"ID": b"x", b"id": PEER.encode(), b"v": b"1"}, False),
    ],
)
def test_keys_are_read_as_dns_sd_says(pairs: dict[bytes, bytes | None], is_read: bool) -> None:
    found = decode_txt(pairs)
    assert (found is not None and found.node_id == PEER) is is_read


def test_addresses_that_lead_to_no_other_node_are_left_out() -> None:
    nobody = ["0.0.0.0", "::", "224.0.0.251", "ff02::fb", "255.255.255.255", "fe80::1", "febf::1"]
    good = ["10.0.0.1", "169.254.1.1", "2001:db8::1", "fe80::1%eth0"]
    here = ["127.0.0.1", "::1", "127.9.9.9"]
    found = usable_addresses([*nobody, *here, *good], 8084, has_network=True)
    assert found == (
        "10.0.0.1:8084", "169.254.1.1:8084", "[2001:db8::1]:8084", "[fe80::1%eth0]:8084"
    )  # fmt: skip
    alone = usable_addresses(here, 1, has_network=False)
    assert alone == ("127.0.0.1:1", "[::1]:1", "127.9.9.9:1")
    many = [f"10.0.{number}.1" for number in range(200)]
    assert len(usable_addresses(many, 1, has_network=True)) == ADDRESSES_LIMIT
