"""docs/broker.md: its files are written, its commands run in order, its program works."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from broker.standalone.conf.compat_options import (
    ACCESS_OPTIONS,
    GLOBAL_OPTIONS,
    IGNORED,
    LISTENER_OPTIONS,
    NOT_OFFERED,
    ONLY,
)
from broker.standalone.conf.tables import TLS_KEYS
from tests.integration.broker.conftest import BrokerThread
from tests.paho_client import Paho
from tests.peers import require
from tests.ports import free_port
from tests.programs import HECATE, ROOT, Program

TEXT = (ROOT / "docs" / "broker.md").read_text()
SECTIONS = (
    "Try it", "Keep data", "Check data", "Users and rights", "Listeners and TLS", "Watching it",
    "Moving over from Mosquitto",
)  # fmt: skip


def blocks(section: str) -> Iterator[tuple[str, str]]:
    body = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert body
    yield from re.findall(r"^```(\w+)\n(.*?)^```", body[1], re.MULTILINE | re.DOTALL)


class Reader:
    """Does what the page says, in a folder of its own and on free ports."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.printed: list[str] = []
        self._folder, self._stack = folder, stack
        self._running: Program | None = None
        self._ports: dict[str, str] = {}
        folder.joinpath("bin").mkdir()
        command = folder / "bin" / "hecate"
        command.write_text(f'#!/bin/sh\nexec {" ".join(HECATE)} "$@"\n')
        command.chmod(0o755)

    def follow(self, section: str) -> None:
        self._ports = {port: str(free_port()) for port in ("1883", "8883", "9234")}
        for language, text in blocks(section):
            if language == "sh":
                for line in text.splitlines():
                    self._do(self._with_ports(line))
            else:
                name = text.splitlines()[0].removeprefix("# ")
                (self._folder / name).write_text(self._with_ports(text))

    def _with_ports(self, text: str) -> str:
        for written, free in self._ports.items():
            text = re.sub(rf"(?<=[:\s]){written}\b", free, text)
        return text

    def _do(self, line: str) -> None:
        environ = {
            "PATH": f"{self._folder}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HECATE_LOG_LEVEL": "INFO",
        }
        if line.endswith(" &"):
            words = line.removesuffix(" &").split()
            if "--anonymous" in words:
                words += ["--listen", f"127.0.0.1:{self._ports['1883']}"]
            program = Program((*HECATE, *words[1:]), environ, self._folder)
            self._running = self._stack.enter_context(program)
            self._running.wait_for("broker ready")
            return
        program_name = line.split()[0]
        if program_name not in ("hecate", "printf", "kill"):
            require(program_name)
        if "$!" in line:
            assert self._running
            line = line.replace("$!", str(self._running.process.pid))
        done = subprocess.run(
            ["bash", "-ec", line], cwd=self._folder, env={**os.environ, **environ},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stderr)
        self.printed.append(done.stdout)
        if line.startswith("kill -9"):
            assert self._running
            self._running.wait()
        elif line.startswith("kill"):
            assert self._running
            self._running.wait_for("read users, rights and certificates again")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with ExitStack() as stack:
        yield Reader(tmp_path_factory.mktemp("page"), stack)


@pytest.mark.timeout(120)
def test_the_page_works_from_top_to_bottom(reader: Reader) -> None:
    for section in SECTIONS:
        reader.follow(section)
    printed = "".join(reader.printed)
    assert "hello\n" in printed
    assert "cake\n" in printed
    assert "61\n" in printed
    assert "broker.toml: good configuration for the broker: MQTT 127.0.0.1:" in printed
    assert "seconds\n" in printed
    assert "nothing is damaged or missing\n" in printed
    assert '"damages": []' in printed
    assert "hecate_broker_connections " in printed
    assert '{"status":"ok"}' in printed
    (_, program), _ = blocks("In a program of your own")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=reader._folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("listening on ('127.0.0.1', "), done.stderr


def test_every_shell_block_is_followed() -> None:
    followed = sum(language == "sh" for section in SECTIONS for language, _ in blocks(section))
    assert followed == TEXT.count("```sh\n") == 8


def test_the_hooks_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    _, (_, text) = blocks("In a program of your own")
    page: dict[str, Any] = {}
    exec(text, page)
    with ExitStack() as stack:
        running = BrokerThread()
        stack.callback(running.stop)
        running.call(lambda: page["add_hooks"](running.broker))
        old = stack.enter_context(Paho("old", MQTTProtocolVersion.MQTTv31))
        assert old.connect("127.0.0.1", running.port)[1] == "Not authorized"
        client = stack.enter_context(Paho("c", MQTTProtocolVersion.MQTTv5))
        client.connect("127.0.0.1", running.port)
        assert client.subscribe("plant/#", 2) == "Granted QoS 1"
        for payload, answer in (
            (b"21", "Success"),
            (b"99", "Payload format invalid"),
            (b"warm", "Implementation specific error"),
        ):
            assert client.publish("plant/1/celsius", payload, 1) == answer
        assert client.publish("plant/1/state", b"warm", 1) == "Success"
        assert [client.take().payload for _ in range(2)] == [b"21.0", b"warm"]
    assert capsys.readouterr().out.startswith("c ")


def test_the_page_names_every_option_that_is_kept() -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith("| kept |"))
    named = set(re.findall(r"`(\w+)`", row))
    own = {"listener", "port", "bind_address", "per_listener_settings", "include_dir"}
    assert named == LISTENER_OPTIONS | ACCESS_OPTIONS | GLOBAL_OPTIONS | own
    assert not named & (set(IGNORED) | set(NOT_OFFERED) | set(ONLY))
    for key in TLS_KEYS:
        assert f"`{key}`" in TEXT
