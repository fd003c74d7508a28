from gateway.links.ble.advertisers import (
    DOUBTS,
    FULL_S,
    HEARD_S,
    RETRY_CAP_S,
    STRANGER_FIRST_S,
    STRANGERS_LIMIT,
    Advertisers,
)
from hardware.radio.hecate_service import ServiceState

QUIET = ServiceState()


def test_strangers_have_a_bound_and_those_that_failed_make_room() -> None:
    advertisers = Advertisers()
    for n in range(10 * STRANGERS_LIMIT):
        advertisers.hear(f"S{n}", QUIET, -60, 0.0)
    assert len(advertisers) == STRANGERS_LIMIT
    assert advertisers.refused == 9 * STRANGERS_LIMIT
    advertisers.fail("S3", 0.0, 0.0)
    advertisers.hear("new", QUIET, -60, FULL_S)
    assert advertisers.get("new") is not None
    assert advertisers.get("S3") is None


def test_strangers_that_are_silent_make_room() -> None:
    advertisers = Advertisers()
    for n in range(STRANGERS_LIMIT):
        advertisers.hear(f"S{n}", QUIET, -60, 0.0)
    advertisers.hear("new", QUIET, -60, HEARD_S + 1)
    assert len(advertisers) == 1


def test_devices_that_proved_a_key_stay_though_strangers_come() -> None:
    advertisers = Advertisers()
    advertisers.hear("A", QUIET, -60, 0.0)
    advertisers.prove("A", "dev-1")
    for n in range(10 * STRANGERS_LIMIT):
        advertisers.hear(f"S{n}", QUIET, -60, 100.0)
    known = advertisers.get("A")
    assert known is not None
    assert known.proved == "dev-1"


def test_waits_grow_to_a_bound_and_a_proof_ends_them() -> None:
    advertisers = Advertisers()
    advertisers.hear("A", QUIET, -60, 0.0)
    advertisers.prove("A", "dev-1")
    known = advertisers.get("A")
    assert known is not None
    waits = []
    for _ in range(12):
        advertisers.fail("A", 0.0, 0.0)
        waits.append(known.not_before)
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == RETRY_CAP_S
    advertisers.prove("A", "dev-1")
    advertisers.fail("A", 0.0, 0.0)
    assert known.not_before == 1.0


def test_one_failed_proof_does_not_make_a_stranger_of_a_known_address() -> None:
    advertisers = Advertisers()
    advertisers.hear("A", QUIET, -60, 0.0)
    advertisers.prove("A", "dev-1")
    known = advertisers.get("A")
    assert known is not None
    for n in range(DOUBTS):
        assert known.proved, n
        advertisers.fail("A", 0.0, 0.0)
        advertisers.distrust("A")
    assert not known.proved
    advertisers.fail("A", 0.0, 0.0)
    assert known.not_before >= STRANGER_FIRST_S
