"""The real `hecate up`: what it prints works, it ends cleanly, and it finds its state again."""

import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[4]
START_S = 90.0  # 5 s alone; other tests run beside
ANY_PORTS = [f"--{name}-port=0" for name in ("mqtt", "api", "cloud", "cloud-mqtt", "relay")]
pytestmark = pytest.mark.timeout(300)


def hecate(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *arguments]


@dataclass
class Up:
    """One `hecate up`, and what it has printed."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    unread: bytes = b""

    def read_until(self, wanted: str, timeout_s: float = START_S) -> str:
        """Return the first new line that holds a text."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            line, end, rest = self.unread.partition(b"\n")
            if end:
                self.unread = rest
                self.lines.append(line.decode())
                if wanted in self.lines[-1]:
                    return self.lines[-1]
            elif select.select([self.process.stdout], [], [], 1)[0]:
                # not readline(): select() knows nothing of the lines that it keeps
                chunk = os.read(self.process.stdout.fileno(), 65_536)
                if not chunk:
                    raise AssertionError(f"ended before {wanted!r}:\n" + "\n".join(self.lines))
                self.unread += chunk
        raise AssertionError(f"no {wanted!r} in:\n" + "\n".join(self.lines))

    def commands(self) -> list[str]:
        """Return the lines to try, as they were printed."""
        if not any("/openapi.json" in line for line in self.lines):
            self.read_until("/openapi.json")
        return [line[4:] for line in self.lines if line.startswith("    ")]

    def end(self, number: int = signal.SIGINT) -> int:
        """Ask it to end; return its exit code once it and all it had started are gone."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=60)
        self.lines += (self.unread.decode() + rest).splitlines()
        gone, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
        assert gone
        return self.process.returncode


def start(state: Path, *options: str) -> Up:
    command = hecate("up", "--state", str(state), "--plain", *ANY_PORTS, *options)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HECATE_")}
    return Up(
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
    )


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up") / "state"


@pytest.fixture(scope="module")
def up(state: Path) -> Iterator[Up]:
    running = start(state, "--devices", "2")
    try:
        running.commands()
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            running.process.wait(30)
        assert running.process.stdout is not None
        running.process.stdout.close()


def run_printed(commands: list[str], timeout_s: float = 90) -> list[str]:
    """Paste the commands into one shell; return what each printed."""
    assert shutil.which("mosquitto_sub"), "mosquitto-clients is not installed"
    script = "".join(f"{command}\ncode=$?; echo; echo ===== $code\n" for command in commands)
    done = subprocess.run(
        ["bash", "-o", "pipefail"],
        input=script,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    parts = re.split(r"(?m)^===== (\d+)\n", done.stdout)
    answers, codes = parts[:-1:2], parts[1::2]
    failed = [c for c, code in zip(commands, codes, strict=True) if code != "0"]
    assert not failed, f"{failed}\n{done.stdout}\n{done.stderr}"
    return [answer.strip() for answer in answers]


def test_everything_printed_works_as_printed(up: Up) -> None:
    commands = up.commands()
    answers = dict(zip(commands, run_printed(commands), strict=True))
    rooms = [answer for command, answer in answers.items() if "/rooms" in command]
    assert len(rooms) == 3  # sidecar, SEP, BEP
    for room in rooms:
        assert json.loads(room)
    local, cloud = [answer for command, answer in answers.items() if "mosquitto_sub" in command]
    assert len(local.splitlines()) == len(cloud.splitlines()) == 4
    assert all(line.startswith("devices/dev-") for line in local.splitlines())
    assert all("/devices/dev-" in line for line in cloud.splitlines())
    (devices,) = [
        answer
        for command, answer in answers.items()
        if command.endswith("devices") or " devices --" in command
    ]
    assert devices.count("online") == 2
    (description,) = [answer for command, answer in answers.items() if "openapi" in command]
    assert json.loads(description)["openapi"].startswith("3.")


def own(state: Path, up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = next(line for line in up.lines if "openapi.json" in line)
    found = re.search(r"http://[^/]+", line)
    assert found is not None
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HECATE_")}
    return subprocess.run(
        hecate(*arguments, "--state", str(state), "--url", found[0]),
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_other_commands_speak_to_it(up: Up, state: Path) -> None:
    status = own(state, up, "status")
    assert status.returncode == 0, status.stderr
    assert "SEP: online" in status.stdout.splitlines()
    for cluster in ("linkLocal", "account"):
        answer = own(state, up, "nodes", "--cluster", cluster, "--json")
        assert answer.returncode == 0, answer.stderr
        assert len(json.loads(answer.stdout)["data"]) == 1
    nodes = own(state, up, "nodes").stdout
    assert "supernode" in nodes
    assert "…" not in nodes
    claim = own(state, up, "devices", "claim")
    assert claim.returncode == 0, claim.stderr
    assert len(claim.stdout.split()) == 1
    unknown = own(state, up, "devices", "revoke", "dev-000000000000")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("cannot revoke dev-000000000000: ")
    nowhere = own(state, up, "code", "nonsense")
    assert (nowhere.returncode, nowhere.stderr) == (
        1,
        "cannot make code: 'nonsense' is no node id\n",
    )


def test_a_deployment_prints_its_url(up: Up, state: Path) -> None:
    done = own(
        state,
        up,
        "deploy",
        "examples/climate",
        "--name",
        "second",
        "--env",
        "MCM.BASE_API_PATH=/second/v1",
    )
    assert done.returncode == 0, done.stderr
    url = done.stdout.strip()
    assert url.endswith("/api/second/v1")
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["curl", "-sf", url + "/nowhere"], check=True, capture_output=True)
    subprocess.run(["curl", "-sf", url + "/rooms"], check=True, capture_output=True)


def test_a_second_run_on_the_same_state_is_refused(up: Up, state: Path) -> None:
    assert up.process.poll() is None
    second = start(state)
    out, _ = second.process.communicate(timeout=30)
    assert second.process.returncode == 1
    assert "cannot start: another hecate up (process" in out


def test_secrets_are_in_no_process_list(up: Up, state: Path) -> None:
    secrets = [
        (state / "api-key").read_text().strip(),
        (state / "cloud" / "dev-password").read_text().strip(),
    ]
    for child in psutil.Process(up.process.pid).children(recursive=True):
        assert not any(secret in word for word in child.cmdline() for secret in secrets)


def test_it_ends_cleanly_and_finds_its_state_again(up: Up, state: Path) -> None:
    node = re.search(r"/sep/([0-9a-f]{56})/", "\n".join(up.lines))
    assert node is not None
    assert up.end(signal.SIGINT) == 0
    assert up.lines[-1] == f"ended; state is kept in {state}"
    again = start(state, "--devices", "2")
    try:
        again.commands()
    finally:
        code = again.end(signal.SIGTERM)
    output = "\n".join(again.lines)
    assert code == 0
    assert f"/sep/{node[1]}/" in output
    assert "devices: simulated: 2 back with their passwords" in output
    assert "example: climate-v1 runs, as it was deployed before" in output


def test_a_part_that_dies_ends_everything_and_is_told(state: Path) -> None:
    again = start(state, "--devices", "0")
    again.commands()
    children = psutil.Process(again.process.pid).children(recursive=True)
    (gateway,) = [child for child in children if "gateway.cli.serve" in child.cmdline()]
    gateway.kill()
    out, _ = again.process.communicate(timeout=60)
    assert again.process.returncode == 1
    assert "cannot continue: gateway ended with SIGKILL; its log" in out
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = start(tmp_path / "state", f"--relay-port={port}")
        out, _ = refused.process.communicate(timeout=30)
    assert refused.process.returncode == 1
    assert out == (
        f"cannot start: port {port} (relay of the cloud) is in use; stop the other program, or "
        "choose another with --relay-port or HECATE_CLOUD_RELAY_PORT\n"
    )


def test_the_live_view_in_a_terminal(state: Path) -> None:
    master, slave = pty.openpty()
    command = hecate("up", "--state", str(state), "--devices", "1", *ANY_PORTS)
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "110", "LINES": "40"}
    environ.pop("NO_COLOR", None)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environ,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    seen = b""
    deadline = time.monotonic() + START_S
    while not re.search("temperature [0-9.]+ °C".encode(), seen) and time.monotonic() < deadline:
        if select.select([master], [], [], 1)[0]:
            seen += os.read(master, 65536)
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        if select.select([master], [], [], 0.1)[0]:
            try:
                seen += os.read(master, 65536)
            except OSError:  # the other end is closed
                break
    assert process.wait(30) == 0
    os.close(master)
    text = seen.decode(errors="replace")
    for words in ("✓ ", "messages/s", "Microservices", "SEP online", "Ctrl-C ends everything"):
        assert words in text
    assert "\x1b[?25h" in text  # the cursor is back
