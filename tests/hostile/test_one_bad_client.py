"""One client at its worst: the broker's memory stays within its limits, others hardly notice.

Times are medians over rounds. An attack is bearable when honest messages take less than ten times
what they take in the same rounds at a twin: the same broker in a second process, not attacked.
Otherwise the work counts: the processor time that the broker used while an honest message was under
way, less what the twin's messages took, because while an honest client waits for a processor the
broker works for others. The rest, which is neither the broker's work nor due to the machine, is a
wait of the broker for something else.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.hostile.attacker import ATTACKS
from tests.hostile.honest import Delay, Honest
from tests.hostile.target import BOUND_BYTES
from tests.integration.broker.access.certificates import Authority
from tests.programs import PATIENCE, Program
from tests.share import Count

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 * PATIENCE)]

ROUND_S = float(os.environ.get("HECATE_HOSTILE_ROUND_S", "1"))
ROUNDS = 3
WARM_UP_S = 1.0
ATTEMPTS = 3
FACTOR = 10
WORK_FACTOR = 25  # of the work before the attack; 12 is the most that any attack makes it
WAITED_S = 0.1  # for something that is neither work nor the machine
TWIN_PAIRS = 2
LISTENER = {"half_tls_handshakes": 1, "websocket_pings": 2, "websocket_fragments": 2}
MIB = 1 << 20

rows: list[str] = []


@dataclass(frozen=True)
class Target:
    """A broker that runs."""

    pid: int
    ports: list[int]


@dataclass(frozen=True)
class Outcome:
    calm: Delay
    attacked: Delay
    twin: Delay  # in the rounds of the attack
    grown_bytes: int
    faults: list[str]

    @property
    def is_bearable(self) -> bool:
        usual_s = max(self.calm.wall_s, self.twin.wall_s)
        if self.attacked.wall_s < FACTOR * usual_s:
            return True
        work_s = self.attacked.work_s - self.twin.wall_s
        waited_s = self.attacked.wall_s - self.attacked.work_s
        return (
            work_s < WORK_FACTOR * self.calm.work_s
            and waited_s < WAITED_S + FACTOR * self.twin.wall_s
        )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    Authority(folder).sign("server")
    return folder


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    yield
    head = "| attack | memory, MiB | p99 before, ms | during | at the twin | work before | during |"
    head += "\n|---|--:|--:|--:|--:|--:|--:|"
    sys.stdout.write("\n".join(["", head, *rows, ""]))


async def suffer(name: str, target: Target, twin_target: Target) -> Outcome:
    broker, ports = psutil.Process(target.pid), target.ports
    async with (
        Honest(ports[0], broker.pid) as honest,
        Honest(twin_target.ports[0], twin_target.pid, TWIN_PAIRS) as twin,
    ):
        await honest.p99(WARM_UP_S)
        calm = _median([await honest.p99(ROUND_S) for _ in range(ROUNDS)])
        before = peak = broker.memory_info().rss
        port = ports[LISTENER.get(name, 0)]
        attacker = [sys.executable, "-m", "tests.hostile.attacker", name, str(port)]
        with Program(attacker) as program:
            await asyncio.to_thread(program.wait_for, "ready")
            await honest.p99(WARM_UP_S)
            rounds, twins = [], []
            for _ in range(ROUNDS):
                delay, its = await asyncio.gather(honest.p99(ROUND_S), twin.p99(ROUND_S))
                rounds.append(delay)
                twins.append(its)
                peak = max(peak, broker.memory_info().rss)
            is_running = program.process.poll() is None
            program.process.kill()
        faults = await honest.find_faults() + await twin.find_faults()
        if not is_running:
            faults.append("the attacker gave up: " + "".join(program.lines))
    return Outcome(calm, _median(rounds), _median(twins), peak - before, faults)


def _median(rounds: list[Delay]) -> Delay:
    return sorted(rounds, key=lambda each: each.wall_s)[len(rounds) // 2]


@contextmanager
def running_target(certificates: Path) -> Iterator[Target]:
    with Program([sys.executable, "-m", "tests.hostile.target", str(certificates)]) as program:
        ports = [int(each) for each in program.wait_for("ready (.*)")[1].split()]
        yield Target(program.process.pid, ports)


@pytest.mark.parametrize("name", ATTACKS)
def test_others_hardly_notice(name: str, certificates: Path, record_property: Count) -> None:
    for _ in range(ATTEMPTS):
        with running_target(certificates) as target, running_target(certificates) as twin:
            outcome = asyncio.run(suffer(name, target, twin))
        assert not outcome.faults
        assert outcome.grown_bytes < BOUND_BYTES
        if outcome.is_bearable:
            break
    calm, attacked = outcome.calm, outcome.attacked
    times = (calm.wall_s, attacked.wall_s, outcome.twin.wall_s, calm.work_s, attacked.work_s)
    cells = (f"{outcome.grown_bytes / MIB:.1f}", *(f"{1000 * each:.1f}" for each in times))
    rows.append(f"| {name} | {' | '.join(cells)} |")
    record_property("attacks", 1)
    assert outcome.is_bearable, rows[-1]
