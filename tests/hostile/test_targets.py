"""Every target takes its seeds, the seeds damaged in any way, and all that once was a crash."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile.seeds import SEEDS
from tests.hostile.targets import TARGETS, VERSIONS

VECTORS = Path(__file__).parent / "vectors"  # TARGET-what.bin: inputs that were crashes


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Return parts of seeds put together, with bytes changed."""
    data = bytearray()
    for seed in draw(st.lists(st.sampled_from(seeds), min_size=1, max_size=3)):
        start = draw(st.sampled_from([0, 0, 0, len(seed) // 2]))
        data += seed[start : draw(st.integers(0, len(seed)))] if draw(st.booleans()) else seed
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


def test_every_target_has_seeds() -> None:
    assert SEEDS.keys() == TARGETS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


def test_wire_seeds_are_packets() -> None:
    from broker.wire import decode_packet

    for seed in SEEDS["wire"]:
        assert decode_packet(seed[1:], VERSIONS[seed[0]]) is not None


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_seeds(name: str) -> None:
    @settings(deadline=None)
    @given(damaged(SEEDS[name]) | st.binary(max_size=300))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.bin")), ids=lambda path: path.stem)
def test_what_was_a_crash(path: Path) -> None:
    TARGETS[path.stem.partition("-")[0]](path.read_bytes())
