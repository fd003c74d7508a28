"""`hecate broker`, with mosquitto's clients."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from gateway.sidecar.metrics import broker_metrics
from tests.programs import HECATE, ROOT, Program, until


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


def start(folder: Path, *options: str, config: str = "") -> Program:
    if config:
        (folder / "broker.toml").write_text(config)
        options = ("--config", str(folder / "broker.toml"), *options)
    return Program((*HECATE, "broker", *options), {"HECATE_LOG_LEVEL": "INFO"})


def get(url: str) -> str:
    with urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_prometheus_reads_how_it_is(tmp_path: Path) -> None:
    local = ("--anonymous", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    with start(tmp_path, *local) as program:
        found = program.wait_for(r"ready: MQTT 127.0.0.1:(\d+);.*; metrics (http://127.*/metrics)")
        command = ["mosquitto_pub", "-p", found[1], "-t", "a", "-m", "hello", "-r", "-q", "1"]
        subprocess.run(command, check=True)
        forged = ["mosquitto_pub", "-p", found[1], "-t", "$SYS/broker/version", "-m", "0"]
        subprocess.run(forged, check=True)
        until(lambda: "hecate_broker_dropped_total{" in get(found[2]), "the drop")
        lines = get(found[2]).splitlines()
        assert "hecate_broker_retained 1.0" in lines
        assert "hecate_broker_messages_received_total 2.0" in lines
        assert 'hecate_broker_dropped_total{reason="publish_not_authorized"} 1.0' in lines
        assert 'hecate_broker_refused_total{reason="publish_not_authorized"} 1.0' in lines
        assert 'hecate_broker_sessions{client="online"} 0.0' in lines
        assert get(found[2].replace("metrics", "healthz")) == '{"status":"ok"}'
        names = {
            line.split()[2].removesuffix("_total") for line in lines if line.startswith("# TY")
        }
        broker = dict.fromkeys(
            ("connections", "subscriptions", "retained", "messages_received", "messages_sent",
             "messages_dropped", "bytes_received", "bytes_sent"), 0,
        )  # fmt: skip
        gateway = {metric.name for metric in broker_metrics(broker)}
        assert len(gateway) == 8
        assert gateway <= names
        assert program.stop() == 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            ("--metrics", "0.0.0.0:0"),
            "anyone on the network could read them; add --open",
        ),
        (("--metrics", "9234"), "cannot show metrics on 9234: must be HOST:PORT"),
    ],
)
def test_metrics_are_not_shown_to_the_network_by_silence(
    tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    with start(tmp_path, "--anonymous", "--listen", "127.0.0.1:0", *options) as program:
        program.wait_for(why)
        assert program.wait() == 2
    asked = ("--anonymous", "--listen", "127.0.0.1:0", *options, "--open-to-network")
    if options[1].startswith("0"):
        with start(tmp_path, *asked) as program:
            program.wait_for(r"metrics http://0\.0\.0\.0:\d+/metrics")


SEVERAL = """
[[listener]]
address = "127.0.0.1:0"
connections = 1

[[listener]]
path = "mqtt.sock"

[[listener]]
address = "127.0.0.1:0"
websocket = true
origins = ["https://panel.example"]
proxies = ["127.0.0.1"]

[access]
anonymous = "loopback"
allow_everything = true

[metrics]
address = "127.0.0.1:0"
sys_interval_s = 1
"""


def test_several_listeners_each_with_its_own_policy(tmp_path: Path) -> None:
    with start(tmp_path, config=SEVERAL) as program:
        ready = program.wait_for(
            r"MQTT 127.0.0.1:(\d+), (\S+)/mqtt.sock, 127.0.0.1:(\d+) \(WebSocket, PROXY\); anyone"
        )
        tcp, web = int(ready[1]), int(ready[3])
        unix = [*("mosquitto_sub", "--unix", f"{ready[2]}/mqtt.sock"), "-C", "1", "-W", "20"]
        command = [*unix, "-t", "$SYS/broker/uptime"]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        assert told.stdout.endswith("seconds\n")
        with socket.create_connection(("127.0.0.1", tcp)) as first:
            first.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a")
            assert first.recv(4) == b"\x20\x02\x00\x00"
            with socket.create_connection(("127.0.0.1", tcp)) as second:
                assert second.recv(1) == b""
        for origin, status in (("panel.example", 101), ("evil.example", 403)):
            with socket.create_connection(("127.0.0.1", web)) as page:
                page.sendall(
                    b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\nGET /mqtt HTTP/1.1\r\nHost: broker\r\n"
                    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n"
                    b"Sec-WebSocket-Protocol: mqtt\r\nOrigin: https://%b\r\n\r\n" % origin.encode()
                )
                assert page.recv(12) == b"HTTP/1.1 %d" % status
        with socket.create_connection(("127.0.0.1", web)) as stranger:
            stranger.sendall(b"GET /mqtt HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert stranger.recv(1) == b""
        program.wait_for("closing 127.0.0.9 on 127.0.0.1:0: websocket handshake")
        program.wait_for("refused 127.0.0.1 on 127.0.0.1:0: .*PROXY")


# case B12
def test_the_ready_line_names_all_addresses(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port}\nallow_anonymous true\n")
    with Program((*HECATE, "broker", "--config", str(config))) as program:
        program.wait_for(rf"broker ready: MQTT 0\.0\.0\.0:{port}, \[::\]:{port}; anyone on the net")
    listen = ("--listen", f"0.0.0.0:{port}", "--listen", f"[::]:{port}")
    with Program((*HECATE, "broker", "--anonymous", "--open-to-network", *listen)) as program:
        program.wait_for(rf"broker ready: MQTT 0\.0\.0\.0:{port}, \[::\]:{port}; anyone on the net")
