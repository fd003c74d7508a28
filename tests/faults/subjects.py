"""Starts, kills and restarts brokers on the same folder."""

import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Protocol

from tests.programs import HECATE, PATIENCE, Program

START_S = 20
MOSQUITTO_SAVES = {
    "default": "",
    "each second": "autosave_interval 1",
    "each change": "autosave_on_changes true\nautosave_interval 1",
}


class Subject(Protocol):
    """A broker process; name and settings are for reports."""

    name: str
    settings: str
    folder: Path
    troubles: list[str]  # errors it wrote, bad exit codes

    def start(self) -> int:
        """Start on the folder; return its port."""

    def kill(self) -> None:
        """End it with SIGKILL."""

    def stop(self) -> None:
        """End it with SIGTERM."""


class Hecate:
    """`hecate broker`."""

    name = "hecate"

    def __init__(self, folder: Path, durability: str = "synced") -> None:
        self.settings = f"--durability {durability}"
        self.folder = folder
        self._command = [
            *HECATE, "broker", "--listen", "127.0.0.1:0", "--anonymous",
            "--data", str(folder / "data"), "--durability", durability,
        ]  # fmt: skip
        self._program: Program | None = None
        self.troubles: list[str] = []

    def start(self) -> int:
        """Start on the folder; return its port."""
        self._program = Program(self._command)
        match = self._program.wait_for(r"broker ready: MQTT 127\.0\.0\.1:(\d+)", START_S)
        return int(match[1])

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._program is not None:
            self._program.kill()
            self._note()

    def stop(self) -> None:
        """End it with SIGTERM."""
        if self._program is not None:
            code = self._program.stop()
            self._note()
            if code:
                self.troubles.append(f"ended with {code}")

    def _note(self) -> None:
        assert self._program is not None
        lines = self._program.lines
        for number, line in enumerate(lines):
            if re.search(r"Traceback|\b(ERROR|CRITICAL)\b", line):
                self.troubles.append("".join(lines[number : number + 40]))


class HecateWithRights(Hecate):
    """`hecate broker --config`, with rights that can change and small queues."""

    def __init__(self, folder: Path, durability: str = "synced", **limits: int) -> None:
        super().__init__(folder, durability)
        self._rights = folder / "acl.toml"
        self._changes = 0
        self._write_rights()
        config = folder / "broker.toml"
        lines = [f"{name} = {limit}" for name, limit in limits.items()]
        config.write_text(
            '[[listener]]\naddress = "127.0.0.1:0"\n'
            '[access]\nanonymous = "loopback"\nacl_file = "acl.toml"\n'
            f'[storage]\nfolder = "data"\ndurability = "{durability}"\n'
            "[limits]\n" + "\n".join(lines) + "\n"
        )
        self._command = [*HECATE, "broker", "--config", str(config)]

    def reload(self) -> None:
        """Deny what nobody sends, though it is within what is subscribed, by SIGHUP."""
        assert self._program is not None
        self._changes += 1
        self._write_rights()
        self._program.process.send_signal(signal.SIGHUP)

    def _write_rights(self) -> None:
        self._rights.write_text(
            f'[[rule]]\neveryone = true\nreadwrite = ["#"]\ndeny = ["+/+/none-{self._changes}"]\n'
        )


class Mosquitto:
    """Debian's, with persistence."""

    name = "mosquitto"

    def __init__(self, folder: Path, saves: str) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        assert program is not None
        self.settings = f"persistence true, {saves.replace(chr(10), ', ')}"
        self.folder = folder
        self._saves = saves
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self.troubles: list[str] = []

    def start(self) -> int:
        """Start on the folder; return its port."""
        with socket.socket() as probe:  # it cannot choose one itself
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            f"persistence true\npersistence_location {self.folder}/\n{self._saves}\n"
            "max_queued_messages 0\nmax_inflight_messages 20\n"
        )
        with (self.folder / "log").open("ab") as log:
            command = [self._program, "-c", str(config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S * PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.01)
            else:
                return port

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it with SIGTERM."""
        self._end(signal.SIGTERM)

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait(10)
            self._process = None
