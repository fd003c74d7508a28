import pytest

from microservice.errors import ControlError
from microservice.isolation.findings import FINDINGS, Finding, Isolation, Level
from microservice.isolation.spec import (
    Abilities,
    ContainerSpec,
    Forked,
    Preparation,
    decode_abilities,
    decode_forked,
    decode_preparation,
    decode_spec,
    encode_abilities,
    encode_forked,
    encode_preparation,
    encode_spec,
)

SPEC = ContainerSpec(
    name="api-probe", data="/d", scratch="/s", state="/state", code="/c",
    sockets=("/b.sock",), environment={"HOME": "/d"}, uid=1_900_000_000, required=("memory",),
)  # fmt: skip


def test_messages_come_out_as_they_went_in() -> None:
    assert decode_spec(encode_spec(SPEC)) == SPEC
    for forked in (Forked(7), Forked(error="no memory")):
        assert decode_forked(encode_forked(forked)) == forked
    for abilities in (Abilities(), Abilities(namespaces=True, uids=True)):
        assert decode_abilities(encode_abilities(abilities)) == abilities
    preparation = Preparation(("/sys/fs/cgroup/one",))
    assert decode_preparation(encode_preparation(preparation)) == preparation


@pytest.mark.parametrize("data", [b"", b"[]", b'{"name": "x"}', b'{"name": "x", "evil": 1}'])
def test_half_a_request_is_refused(data: bytes) -> None:
    with pytest.raises(ControlError):
        decode_spec(data)
    with pytest.raises(ControlError):
        decode_preparation(data)


def test_what_is_required_must_be_full() -> None:
    found = {name: Finding(Level.FULL, "") for name in FINDINGS}
    assert Isolation(found).missing(FINDINGS) == []
    found["memory"] = Finding(Level.PART, "each process alone")
    del found["cpu"]
    assert Isolation(found).missing(("memory", "cpu", "files")) == ["memory", "cpu"]
