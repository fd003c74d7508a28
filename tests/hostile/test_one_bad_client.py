"""One client at its worst: the broker's memory stays within its limits, others hardly notice.

Times are medians over rounds, against the same broker before the attack. FLOOR_S is what two
processes that are busy now, broker and attacker, add by sharing processors; where others wait for
these, too, it grows with them.
"""

import asyncio
import os
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.hostile.attacker import ATTACKS
from tests.hostile.honest import Honest
from tests.hostile.target import BOUND_BYTES
from tests.integration.broker_access.certificates import Authority
from tests.programs import PATIENCE, Program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 * PATIENCE)]

ROUND_S = float(os.environ.get("HECATE_HOSTILE_ROUND_S", "1"))
ROUNDS = 3
ATTEMPTS = 3
WARM_UP_S = 1.0
FACTOR = 10
FLOOR_S = 0.1 * PATIENCE
LISTENER = {"half_tls_handshakes": 1, "websocket_pings": 2, "websocket_fragments": 2}
MIB = 1 << 20
OPEN: set[str] = set()

rows: list[str] = []


@dataclass(frozen=True)
class Outcome:
    calm_s: float
    attacked_s: float
    grown_bytes: int
    faults: list[str]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    Authority(folder).sign("server")
    return folder


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    yield
    head = "| attack | memory, MiB | p99 before, ms | p99 during, ms |\n|---|---|---|---|"
    sys.stdout.write("\n".join(["", head, *rows, ""]))


async def suffer(name: str, ports: list[int], broker: psutil.Process) -> Outcome:
    async with Honest(ports[0]) as honest:
        await honest.p99(WARM_UP_S)
        calm_s = statistics.median([await honest.p99(ROUND_S) for _ in range(ROUNDS)])
        before = peak = broker.memory_info().rss
        port = ports[LISTENER.get(name, 0)]
        attacker = [sys.executable, "-m", "tests.hostile.attacker", name, str(port)]
        with Program(attacker) as program:
            await asyncio.to_thread(program.wait_for, "ready")
            await honest.p99(WARM_UP_S)
            rounds = []
            for _ in range(ROUNDS):
                rounds.append(await honest.p99(ROUND_S))
                peak = max(peak, broker.memory_info().rss)
            is_running = program.process.poll() is None
            program.process.kill()
        faults = await honest.find_faults()
        if not is_running:
            faults.append("the attacker gave up: " + "".join(program.lines))
    return Outcome(calm_s, statistics.median(rounds), peak - before, faults)


@pytest.mark.parametrize("name", [each for each in ATTACKS if each not in OPEN])
def test_others_hardly_notice(name: str, certificates: Path) -> None:
    for _ in range(ATTEMPTS):  # other programs can only make it look worse than it is
        with Program([sys.executable, "-m", "tests.hostile.target", str(certificates)]) as program:
            ports = [int(each) for each in program.wait_for("ready (.*)")[1].split()]
            outcome = asyncio.run(suffer(name, ports, psutil.Process(program.process.pid)))
        assert not outcome.faults
        assert outcome.grown_bytes < BOUND_BYTES
        waiting = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        is_bearable = outcome.attacked_s < max(FACTOR * outcome.calm_s, FLOOR_S * waiting)
        if is_bearable:
            break
    calm_ms, attacked_ms = 1000 * outcome.calm_s, 1000 * outcome.attacked_s
    rows.append(f"| {name} | {outcome.grown_bytes / MIB:.1f} | {calm_ms:.1f} | {attacked_ms:.1f} |")
    assert is_bearable, rows[-1]
