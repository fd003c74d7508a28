"""`hecate broker --data`, killed, stopped and started again on its folder."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from paho.mqtt.enums import MQTTProtocolVersion

from tests.paho_client import V4, V5, Paho
from tests.programs import HECATE, Program

# the same program with another wall clock
SET = """
import runpy, sys, time
read, by_s = time.time, float(sys.argv.pop(1))
time.time = lambda: read() + by_s
runpy.run_module("gateway", run_name="__main__", alter_sys=True)
"""


class Runner:
    """One broker after the other, all with one folder."""

    def __init__(self, folder: Path, durability: str) -> None:
        self.port = 0
        self.program: Program
        self._options = [
            "broker", "--anonymous", "--listen", "127.0.0.1:0", "--data", str(folder),
            "--durability", durability,
        ]  # fmt: skip
        self.command = [*HECATE, *self._options]
        self._stack = ExitStack()
        self.start()

    def set_clock(self, by_s: float) -> None:
        """Let the next start have another wall clock."""
        self.command = [sys.executable, "-c", SET, str(by_s), *self._options]

    def start(self) -> None:
        self.program = self._stack.enter_context(Program(self.command))
        self.port = int(self.program.wait_for(r"broker ready: MQTT 127\.0\.0\.1:(\d+)")[1])

    def kill(self) -> None:
        self.program.kill()
        self.start()

    def restart(self) -> None:
        assert self.program.stop() == 0
        self.start()

    def close(self) -> None:
        self._stack.close()

    @contextmanager
    def client(
        self,
        name: str,
        version: MQTTProtocolVersion = V4,
        *,
        stays: bool = False,
        expiry_s: int | None = 600,
    ) -> Iterator[Paho]:
        expiry_s = expiry_s if stays and version == V5 else None
        with Paho(name, version, clean=not stays, expiry_s=expiry_s) as paho:
            connack = paho.connect("127.0.0.1", self.port)
            paho.was_there = connack[0]  # type: ignore[attr-defined]
            yield paho
