import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gateway.cli.errors import CliError
from gateway.cli.up.child import Child

READY = "print('ready 7', flush=True); import time; time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY


def parse(line: str) -> int | None:
    word, _, number = line.partition(" ")
    return int(number) if word == "ready" else None


async def start(child: Child, program: str, timeout_s: float = 20) -> int:
    return await child.start(["-c", program], os.environ, parse, timeout_s)


def test_a_child_is_started_logged_and_ended(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("the run before")

    async def run() -> None:
        child = Child("part", log)
        assert await start(child, "print('hello'); " + READY) == 7
        await child.stop()
        await child.stop()

    asyncio.run(run())
    assert log.read_text() == "hello\nready 7\n"
    assert (tmp_path / "part.log.1").read_text() == "the run before"


def test_a_child_that_dies_at_its_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    async def run() -> None:
        child = Child("part", tmp_path / "part.log")
        program = "import sys; print('x\\n' * 50); sys.exit('cannot listen: in use')"
        with pytest.raises(CliError) as caught:
            await start(child, program)
        message = str(caught.value)
        assert message.startswith("cannot start part: it ended with exit code 1; its log ")
        assert message.endswith("  cannot listen: in use")
        assert message.count("\n") == 12
        await child.stop()

    asyncio.run(run())


def test_a_child_that_dies_later_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        child = Child("part", tmp_path / "part.log")
        await start(child, "print('ready 1', flush=True); import os; os.kill(os.getpid(), 9)")
        await asyncio.wait_for(child.wait(), 20)
        assert "part ended with SIGKILL" in str(child.death())
        await child.stop()

    asyncio.run(run())


def test_a_silent_child_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    async def run() -> None:
        child = Child("part", tmp_path / "part.log")
        with pytest.raises(CliError, match="not ready after 0 s; it said nothing"):
            await start(child, "import time; time.sleep(60)", timeout_s=0.3)
        await child.stop()

    asyncio.run(run())


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "part.log"

    async def run() -> None:
        child = Child("part", log, patience_s=0.2)
        await start(child, STUBBORN)
        await child.stop()
        assert "SIGKILL" in str(child.death())

    asyncio.run(run())
    assert "killed: it did not end" in log.read_text()


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's death"
)
def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, pathlib\n"
        "from gateway.cli.up.child import Child\n"
        "async def run():\n"
        f"    child = Child('part', pathlib.Path({str(tmp_path / 'log')!r}))\n"
        f"    await child.start(['-c', {READY!r}], os.environ, lambda line: line, 20)\n"
        "    print('up', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(run())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    (child,) = psutil.Process(parent.pid).children()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
