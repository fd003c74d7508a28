"""Candidates: newest word of each source, own addresses, pauses, and one-way reach."""

import random

import pytest

from gateway.addresses import place_of_peer
from gateway.cluster.links.candidates import (
    CANDIDATES_LIMIT,
    UNREACHED_S,
    AddressSource,
    Candidates,
    scoped,
)
from settings.addresses import format_peer

OWN, A, B = "o" * 56, "a" * 56, "b" * 56


class Longest(random.Random):
    """Makes each pause as long as it may be."""

    def random(self) -> float:
        return 1.0


def due(candidates: Candidates, now: float, linked: tuple[str, ...] = ()) -> list[str]:
    return [key for key, _, _ in candidates.due(now, linked, ())]


# case N1
def test_the_newest_word_of_a_source_replaces_its_former_one() -> None:
    candidates = Candidates(OWN)
    candidates.note(A, ("10.0.0.1:1", "10.0.0.2:1"), 0, source=AddressSource.LINK)
    candidates.note(A, ("10.0.0.3:1",), 1, source=AddressSource.ANNOUNCED)
    candidates.note(A, ("10.0.0.4:1",), 2, source=AddressSource.LINK)
    assert candidates.addresses(A) == ("10.0.0.4:1", "10.0.0.3:1")
    assert candidates.hints(A) == ("10.0.0.3:1",)
    assert candidates.link_addresses(A) == ("10.0.0.4:1",)


# case N2
def test_an_address_that_this_node_has_too_is_not_dialled() -> None:
    candidates = Candidates(OWN, own=lambda: ("172.17.0.1:1",))
    candidates.note(A, ("172.17.0.1:1", "10.0.0.2:1"), 0)
    candidates.note(B, ("172.17.0.1:1",), 0)
    assert candidates.addresses(A) == ("10.0.0.2:1",)
    assert due(candidates, 0) == [A]


# case N2
@pytest.mark.parametrize(
    ("named", "link", "usable"),
    [
        ("[fe80::1]:1", "[fe80::2%eth1]:5", ("[fe80::1%eth1]:1",)),
        ("[fe80::1%eth7]:1", "[fe80::2%eth1]:5", ("[fe80::1%eth1]:1",)),
        ("[fe80::1]:1", "10.0.0.2:5", ()),
        ("127.0.0.1:1", "10.0.0.2:5", ()),
        ("127.0.0.1:1", "127.0.0.1:5", ("127.0.0.1:1",)),
        ("10.0.0.9:1", "[fe80::2%eth1]:5", ("10.0.0.9:1",)),
        ("[2001:db8::1]:1", "10.0.0.2:5", ("[2001:db8::1]:1",)),
        ("barn.local:1", "10.0.0.2:5", ("barn.local:1",)),
    ],
)
def test_addresses_of_a_peer_are_read_as_this_node_can_use_them(
    named: str, link: str, usable: tuple[str, ...]
) -> None:
    assert scoped([named], link) == usable


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        (("10.0.0.1", 5), "10.0.0.1:5"),
        (("::ffff:10.0.0.1", 5, 0, 0), "10.0.0.1:5"),
        (("2001:db8::1", 5, 0, 0), "[2001:db8::1]:5"),
        (("fe80::1", 5, 0, 3), "[fe80::1%3]:5"),
    ],
)
def test_the_other_end_of_a_connection_is_named_for_a_call_back(
    peer: tuple[str, int], text: str
) -> None:
    assert format_peer(peer) == text


# case N6
def test_a_node_that_is_heard_and_not_reached_is_told_from_one_that_is_gone() -> None:
    candidates = Candidates(OWN)
    candidates.note(A, ("10.0.0.1:1",), 0)
    assert candidates.heard_only(()) == []
    candidates.unreached(A, 1)
    assert candidates.heard_only(()) == []  # it may be gone
    candidates.note(A, ("10.0.0.1:1",), 2)
    assert candidates.heard_only(()) == [A]
    assert candidates.heard_only((A,)) == []
    candidates.identified(A, A)
    assert candidates.heard_only(()) == []


def test_a_configured_address_is_not_dialled_while_its_node_is_linked() -> None:
    candidates = Candidates(OWN, ["10.0.0.1:1"])
    assert due(candidates, 0) == ["10.0.0.1:1"]
    candidates.identified("10.0.0.1:1", A)
    assert due(candidates, 0, (A,)) == []
    assert due(candidates, 0) == ["10.0.0.1:1"]


def test_new_addresses_of_this_machine_end_all_pauses() -> None:
    candidates = Candidates(OWN, ["10.0.0.1:1"], rng=Longest())
    candidates.note(A, ("10.0.0.2:1",), 0)
    for key in ("10.0.0.1:1", A):
        candidates.failed(key, 0)
    assert due(candidates, 0.1) == []
    candidates.retry(0.1)
    assert due(candidates, 0.1) == [A, "10.0.0.1:1"]


def test_phantoms_are_bounded() -> None:
    candidates = Candidates(OWN)
    for number in range(10_000):
        candidates.note(f"{number:056d}", ("10.0.0.1:1",), 0)
        candidates.unreached(f"{number:056d}", 0)
    assert len(due(candidates, 60)) == CANDIDATES_LIMIT
    assert len(due(candidates, 100_000)) == 0


# case N9
def test_a_node_that_had_a_link_is_tried_every_second_for_a_day() -> None:
    candidates = Candidates(OWN, rng=Longest())
    candidates.note(A, ("10.0.0.1:1",), 0, source=AddressSource.LINK)
    candidates.note(B, ("10.0.0.2:1",), 0)
    for _ in range(20):
        candidates.unreached(A, 80_000)
        candidates.unreached(B, 80_000)
    assert due(candidates, 80_001) == [A]
    assert due(candidates, 80_010) == [A, B]
    assert candidates.misses(())
    assert candidates.misses((A,))
    assert not candidates.misses((A, B))


# case N12
def test_members_of_a_lost_supernode_call_another_at_once_and_then_not_in_step() -> None:
    members = [Candidates(OWN, rng=random.Random(seed)) for seed in range(200)]
    for member in members:
        member.note(A, ("10.0.0.1:1",), 0, source=AddressSource.LINK)
        assert due(member, 0) == [A]
    for failures in range(1, 6):
        for member in members:
            member.failed(A, 0)
        limit_s = min(0.25 * 2 ** (failures - 1), 1.0)
        for tenth in range(1, 11):  # no more than a fifth is due within a tenth of the time
            times = (limit_s * (tenth - 1) / 10, limit_s * tenth / 10)
            before, after = (sum(due(each, now) == [A] for each in members) for now in times)
            assert after - before < len(members) / 5
        assert all(due(each, limit_s) == [A] for each in members)


def test_configured_addresses_that_lead_nowhere_for_long_are_named() -> None:
    candidates = Candidates(OWN, ["10.0.0.1:1", "10.0.0.2:1"])
    for address in ("10.0.0.1:1", "10.0.0.2:1"):
        candidates.unreached(address, 5, f"cannot reach {address}: no answer")
    assert candidates.unreached_peers(5 + UNREACHED_S - 1) == []
    candidates.identified("10.0.0.2:1", A)
    candidates.unreached("10.0.0.1:1", 30, "cannot reach 10.0.0.1:1: Connection refused")
    faults = candidates.unreached_peers(5 + UNREACHED_S)
    assert faults == ["cannot reach 10.0.0.1:1: Connection refused"]
    candidates.reached(B, "10.0.0.1:1", 100)
    assert candidates.unreached_peers(1000) == []


def test_the_own_address_in_the_list_of_peers_is_dialled_once() -> None:
    candidates = Candidates(OWN, ["10.0.0.1:1"])
    assert due(candidates, 0) == ["10.0.0.1:1"]
    candidates.identified("10.0.0.1:1", OWN)
    assert due(candidates, 1000) == []
    assert candidates.unreached_peers(1000) == []
    candidates.retry(1000)  # this machine has other addresses, and another may have this one
    assert due(candidates, 1000) == ["10.0.0.1:1"]


# case N9: the other half of a network is found again, however many names strangers announce
def test_phantoms_take_no_place_of_nodes_that_had_a_link() -> None:
    candidates = Candidates(OWN)
    for node_id in (A, B):
        candidates.note(node_id, ("10.0.0.1:1",), 0, source=AddressSource.LINK)
    for number in range(10 * CANDIDATES_LIMIT):
        candidates.note(f"{number:056d}", ("10.0.0.9:1",), 1)
    assert {A, B} <= set(due(candidates, 60))
    strangers = Candidates(OWN)
    for number in range(CANDIDATES_LIMIT):  # each had a link, as of an open cluster
        strangers.note(f"{number:056d}", ("10.0.0.9:1",), 0, source=AddressSource.LINK)
    strangers.note(A, ("10.0.0.1:1",), 1)
    assert A not in due(strangers, 60)
    strangers.note(A, ("10.0.0.1:1",), 1, source=AddressSource.LINK)
    assert A in due(strangers, 60)
    assert len(due(strangers, 60)) == CANDIDATES_LIMIT


@pytest.mark.parametrize(
    "named",
    ["0.0.0.0:1", "[::]:1", "224.0.0.251:1", "[ff02::fb]:1", "255.255.255.255:1",
     "[::ffff:0.0.0.0]:1", "[::ffff:127.0.0.1]:1", "[febf::1]:1"],
)  # fmt: skip
def test_addresses_of_nobody_are_not_dialled(named: str) -> None:
    assert scoped([named], "10.0.0.1:1") == ()
    assert place_of_peer(f"https://{named}") in ("", named if "127.0.0.1" in named else "")


# case N1: a node that is no more needed by others is named by them no more
def test_what_peers_say_of_a_node_ends_with_its_own_statement() -> None:
    candidates = Candidates(OWN)
    candidates.note(A, ("10.0.0.1:1",), 0, source=AddressSource.PASSED_ON)
    assert candidates.addresses(A) == ("10.0.0.1:1",)
    candidates.note(A, ("10.0.0.2:1",), 1, source=AddressSource.LINK)
    assert candidates.addresses(A) == ("10.0.0.2:1",)
    candidates.note(A, ("10.0.0.1:1",), 2, kept=(A,), source=AddressSource.PASSED_ON)
    assert candidates.addresses(A) == ("10.0.0.2:1",)
    candidates.note(A, ("10.0.0.3:1",), 3, source=AddressSource.PASSED_ON)  # its link is lost
    assert candidates.addresses(A) == ("10.0.0.2:1", "10.0.0.3:1")
