"""A message that gateway or cloud has acknowledged reaches the other end, whatever ends between."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.checker import describe
from tests.faults.link import ENDS, LinkRun, Site
from tests.share import Count, find_seed, part_of


def keep_promises(folder: Path, rounds: int, seed: int, ends: tuple[str, ...]) -> None:
    findings = asyncio.run(LinkRun(Site(folder), seed, ends).go(rounds))
    assert not findings, describe(findings)


@pytest.mark.slow
@pytest.mark.whole_in_any_share
@pytest.mark.timeout(300)
@pytest.mark.parametrize("end", ENDS)  # case G10, case CL2
def test_nothing_is_lost_when_one_end_restarts(tmp_path: Path, end: str) -> None:
    keep_promises(tmp_path, 3, 1, (end,))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_when_both_restart_by_turns(tmp_path: Path, record_property: Count) -> None:
    rounds = part_of(40, least=6)
    keep_promises(tmp_path, rounds, find_seed(), ENDS)
    record_property("restarts of gateway and cloud", rounds)
