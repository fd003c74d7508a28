"""`hecate broker`, with mosquitto's clients."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def broker() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "gateway", "broker", "--anonymous", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield process, line
        finally:
            process.kill()


def test_it_serves_and_ends_cleanly(broker: tuple[subprocess.Popen[str], str]) -> None:
    process, line = broker
    assert line.startswith("broker ready: MQTT 127.0.0.1:")
    assert line.endswith("; anyone on this machine may connect\n")
    port = line.split(";")[0].rpartition(":")[2]
    address = ["-h", "127.0.0.1", "-p", port, "-t", "greetings"]
    subprocess.run(["mosquitto_pub", *address, "-q", "1", "-r", "-m", "hello"], check=True)
    heard = subprocess.run(
        ["mosquitto_sub", *address, "-C", "1", "-W", "20"], check=True, capture_output=True
    )
    assert heard.stdout == b"hello\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_a_taken_port_is_an_error_in_one_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        command = [sys.executable, "-m", "gateway", "broker", "--anonymous", "--listen", address]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"cannot listen on {address}: ")
    assert done.stderr.count("\n") == 1
