import pytest

from gateway.http.origin import KEY, Origin, may_visit, origin_of


@pytest.mark.parametrize(
    ("scope", "origin"),
    [
        ({"client": ("127.0.0.1", 5)}, Origin.LOOPBACK),
        ({"client": ("::1", 5)}, Origin.LOOPBACK),
        ({"client": ("::ffff:127.0.0.1", 5)}, Origin.LOOPBACK),
        ({"client": ("192.0.2.1", 5)}, Origin.NETWORK),
        ({"client": ("localhost", 5)}, Origin.NETWORK),
        ({"client": None}, Origin.NETWORK),
        ({}, Origin.NETWORK),
        ({KEY: "sep", "client": ("127.0.0.1", 5)}, Origin.SEP),
        ({KEY: "bep"}, Origin.BEP),
        ({KEY: "container", "client": None}, Origin.CONTAINER),
    ],
)
def test_how_a_request_came_in(scope: dict[str, object], origin: Origin) -> None:
    assert origin_of(scope) is origin


@pytest.mark.parametrize(
    ("expose", "bep", "ways"),
    [
        ("node", True, {Origin.LOOPBACK, Origin.CONTAINER}),
        ("public", False, set(Origin) - {Origin.BEP}),
        ("public", True, set(Origin)),
        ("anything else", True, {Origin.LOOPBACK, Origin.CONTAINER}),
    ],
)
def test_which_ways_a_microservice_answers(expose: str, *, bep: bool, ways: set[Origin]) -> None:
    assert {o for o in Origin if may_visit(expose, bep=bep, origin=o)} == ways
