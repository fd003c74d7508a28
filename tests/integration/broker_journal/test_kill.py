"""kill -9 at random moments: what was said to be safe is there, in order, as it was."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.share import Count, find_seed, part_of

ROOT = Path(__file__).parents[3]
SEED = 20261123


class Victim:
    """One life of the process."""

    def __init__(self, directory: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.broker_journal.victim", str(directory)],
                stdout=output,
                cwd=ROOT,
            )

    def kill_after(self, delay_s: float) -> None:
        deadline = time.monotonic() + 20
        while b"retained" not in self._log.read_bytes():
            assert self._process.poll() is None, "it must start"
            assert time.monotonic() < deadline, "it must start within 20 s"
            time.sleep(0.005)
        time.sleep(delay_s)
        self._process.kill()
        self._process.wait()

    def lines(self, word: str) -> list[list[str]]:
        found = [line.split() for line in self._log.read_text().splitlines()]
        return [line[1:] for line in found if line and line[0] == word]

    @property
    def queue(self) -> dict[int, str]:
        pairs = (each.split(":") for each in self.lines("queue")[0])
        return {int(number): payload for number, payload in pairs}


def run_rounds(directory: Path, rounds: int, seed: int = SEED) -> int:
    chance = random.Random(seed)
    safe = gone = checked = 0
    for number in range(rounds + 1):
        victim = Victim(directory / "journal", directory / f"log-{number}")
        victim.kill_after(chance.random() * 0.15)
        queue = victim.queue
        assert list(queue) == sorted(queue)
        assert all(payload == str(message_id) for message_id, payload in queue.items())
        assert set(range(gone + 1, safe + 1)) & earlier(directory, number) <= queue.keys()
        checked += safe > 0
        if safe:
            assert int(victim.lines("retained")[0][0]) >= safe
        safe = max([safe, *(int(line[0]) for line in victim.lines("safe"))])
        gone = max([gone, *(int(line[0]) for line in victim.lines("gone"))])
    return checked


def earlier(directory: Path, number: int) -> set[int]:
    """Return all numbers that any life before said to be safe (each life skips some)."""
    found: set[int] = set()
    for path in directory.glob("log-*"):
        if int(path.name[4:]) < number:
            lines = path.read_text().splitlines()
            found.update(int(line.split()[1]) for line in lines if line.startswith("safe"))
    return found


def test_nothing_safe_is_lost_by_kill(tmp_path: Path) -> None:
    assert run_rounds(tmp_path, 5) >= 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_safe_is_lost_by_many_kills(tmp_path: Path, record_property: Count) -> None:
    rounds = part_of(100, least=20)
    assert run_rounds(tmp_path, rounds, find_seed()) >= 0.9 * rounds
    record_property("kills", rounds)
