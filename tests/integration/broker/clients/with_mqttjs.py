"""MQTT.js, 3.1.1 and 5, in a node process."""

import base64
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.integration.broker.clients.peer import EXPIRY_S, WAIT_S, Got, Opening
from tests.peers import require
from tests.programs import run

PACKAGE = "mqtt@5.16.0"
CACHE = Path(sys.prefix) / "npm"  # beside the Python packages: `make clean` removes both
PROGRAM = Path(__file__).with_name("peer.mjs")


def install() -> Path:
    """Install MQTT.js where it is not yet; skip where npm cannot, but fail in CI."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    marker = CACHE / "node_modules" / ".hecate" / PACKAGE
    if not marker.exists():
        CACHE.mkdir(exist_ok=True)
        flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(CACHE)]
        try:
            run([require("npm"), "install", *flags, PACKAGE], timeout_s=180)
        except (AssertionError, subprocess.TimeoutExpired) as exc:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"npm cannot install {PACKAGE}: {exc}")
        marker.parent.mkdir(exist_ok=True)
        marker.touch()
    return CACHE


class MqttJsPeer:
    """One client in a process of its own."""

    def __init__(self, opening: Opening, version: int) -> None:
        options: dict[str, Any] = {
            "port": opening.port,
            "clientId": opening.client_id,
            "protocolVersion": version,
            "clean": not opening.stored,
        }
        if opening.stored and version == 5:
            options["properties"] = {"sessionExpiryInterval": EXPIRY_S}
        if opening.will is not None:
            topic, payload = opening.will
            options["will"] = {"topic": topic, "payload": _encode(payload), "qos": 1}
        self._answers: queue.Queue[str] = queue.Queue()
        self._process = subprocess.Popen(
            [require("node"), str(PROGRAM), str(install()), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._answer()

    def subscribe(self, topic_filter: str, qos: int) -> int:
        granted: int = self._ask("subscribe", filter=topic_filter, qos=qos)
        return granted

    def publish(self, message: Got) -> None:
        self._ask(
            "publish",
            topic=message.topic,
            payload=_encode(message.payload),
            qos=message.qos,
            retain=message.retain,
            response_topic=message.response_topic,
            correlation=None if message.correlation is None else _encode(message.correlation),
        )

    def take(self) -> Got:
        got = self._ask("take")
        for field in ("payload", "correlation"):
            if got[field] is not None:
                got[field] = base64.b64decode(got[field])
        return Got(**got)

    def close(self) -> None:
        if self._process.poll() is None:
            self._ask("close")
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(WAIT_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()

    def _ask(self, command: str, **given: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"command": command, **given}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        told = json.loads(self._answers.get(timeout=WAIT_S))
        assert "error" not in told, told["error"]
        return told["answer"]

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(line)


def _encode(payload: bytes) -> str:
    return base64.b64encode(payload).decode()
