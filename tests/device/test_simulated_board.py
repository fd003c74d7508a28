"""The simulated board as a process: restarts, output, secrets, and its end."""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from hardware.device_package import PACKAGE
from hardware.simulated import BoardLimits, SimulatedBoard
from settings.secret import Secret
from tests import programs
from tests.aio import until
from tests.device.boards import joined_board, settings_for

ROOT = PACKAGE.parent
DYING = "print('I die')\nraise SystemExit(7)\n"
CLAIM = "a-claim-token-4711"
CHATTING = "while True: print('x' * 200)\n"


def is_running(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def run_board(board: SimulatedBoard, condition: object) -> int:
    """Run a board until the condition holds; return its last process id."""

    async def stage() -> int:
        await board.start()
        try:
            await until(lambda: condition(), "the condition")  # type: ignore[operator]
            return board.pid or 0
        finally:
            await board.stop()

    return asyncio.run(stage())


def test_starts_a_program_that_dies_again_and_keeps_what_it_said(tmp_path: Path) -> None:
    board = joined_board(tmp_path / "board", settings_for(1), DYING)
    run_board(board, lambda: board.restarts >= 3)
    assert board.log_path.read_text().count("I die") >= 3
    assert board.pid is None


def test_output_cannot_fill_the_disk(tmp_path: Path) -> None:
    board = joined_board(tmp_path / "board", settings_for(1), CHATTING)
    limited = SimulatedBoard(
        board.directory,
        board.settings,
        tmp_path / "board-program.py",
        BoardLimits(log_bytes=100_000),
    )
    old = tmp_path / "board/board.log.1"
    run_board(limited, old.exists)
    assert old.stat().st_size + limited.log_path.stat().st_size <= 100_000


def test_stop_ends_the_interpreter_and_a_second_stop_is_harmless(tmp_path: Path) -> None:
    async def stage() -> None:
        board = joined_board(tmp_path / "board", settings_for(1))
        await board.start()
        pid = board.pid
        assert pid
        assert is_running(pid)
        await board.start()
        assert board.pid == pid
        await board.stop()
        await board.stop()
        assert not is_running(pid)

    asyncio.run(stage())


def test_secrets_are_neither_in_the_command_nor_in_the_environment(tmp_path: Path) -> None:
    async def stage() -> None:
        settings = replace(settings_for(1), claim_token=Secret(CLAIM))
        board = joined_board(tmp_path / "board", settings)
        await board.start()
        process = Path("/proc") / str(board.pid)
        programs.until(  # just after exec the kernel shows neither yet
            lambda: (process / "cmdline").read_text().endswith("main.py\0"), "the program shows"
        )
        command = (process / "cmdline").read_text().split("\0")
        environment = (process / "environ").read_text()
        await board.stop()
        assert command[-4:] == ["-X", "heapsize=512K", "main.py", ""]
        assert CLAIM not in " ".join(command) + environment
        assert "HECATE_TEST_MARK" not in environment

    os.environ["HECATE_TEST_MARK"] = "1"
    try:
        asyncio.run(stage())
    finally:
        del os.environ["HECATE_TEST_MARK"]


OWNER = """
import asyncio, sys
from pathlib import Path
from tests.device.boards import joined_board, settings_for

async def main():
    board = joined_board(Path(sys.argv[1]), settings_for(1))
    await board.start()
    print(board.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_board_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    with programs.Program([sys.executable, "-c", OWNER, str(tmp_path / "board")]) as owner:
        pid = int(owner.wait_for(r"^(\d+)$").group(1))
        log = tmp_path / "board/board.log"
        # a board that prints would die of its broken pipe; this one has said all it has to say
        programs.until(lambda: log.exists() and "offline" in log.read_text(), "the board's line")
        assert is_running(pid)
        owner.process.send_signal(signal.SIGKILL)
        programs.until(lambda: not is_running(pid), "the board's end")


def test_a_board_in_trouble_resets(tmp_path: Path) -> None:
    program = "from device import Device\nd = Device()\nd.link.run = None\nd.run()\n"
    board = joined_board(tmp_path / "board", settings_for(1), program)
    run_board(board, lambda: board.restarts == 1)
    assert "Traceback" in board.log_path.read_text()
