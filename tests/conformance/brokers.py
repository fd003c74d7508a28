"""Starts the brokers for the suites; each start gives a fresh one."""

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conformance.refusing_broker import FORBIDDEN, KEEP_ALIVE_S
from tests.programs import HECATE, Program, until

HOST = "127.0.0.1"

Start = Callable[[], AbstractContextManager[int]]  # gives the port
EVERYWHERE = ("/usr/sbin", "/usr/local/sbin")

# Mosquitto announces these two, and the data of its sequences compares them
OURS = f"""
[[listener]]
address = "{HOST}:0"
[access]
anonymous = "loopback"
allow_everything = true
[limits]
topic_aliases = 10
holds = 20
[log]
level = "WARNING"
"""


@contextmanager
def hecate() -> Iterator[int]:
    """Our broker as people run it, with the limits that the sequences expect to be told."""
    with TemporaryDirectory() as folder:
        config = Path(folder, "broker.toml")
        config.write_text(OURS)
        with Program([*HECATE, "broker", "--config", str(config)]) as program:
            yield _port_of(program)


@contextmanager
def hecate_that_refuses() -> Iterator[int]:
    """Our broker with the refusal and the keep-alive that Paho's suites expect."""
    with Program([sys.executable, "-m", "tests.conformance.refusing_broker"]) as program:
        yield _port_of(program)


@contextmanager
def hecate_that_refuses_and_stores() -> Iterator[int]:
    """The same with a folder for data."""
    command = [sys.executable, "-m", "tests.conformance.refusing_broker"]
    with TemporaryDirectory() as folder, Program([*command, folder]) as program:
        yield _port_of(program)


@contextmanager
def hecate_that_stores() -> Iterator[int]:
    """Our broker as people run it, with a folder for data."""
    with TemporaryDirectory() as folder:
        config = Path(folder, "broker.toml")
        config.write_text(OURS + '[storage]\nfolder = "data"\n')
        with Program([*HECATE, "broker", "--config", str(config)]) as program:
            yield _port_of(program)


def mosquitto(path: str) -> Start:
    """Return how to start a Mosquitto that does the same; it has no way to choose a port."""

    @contextmanager
    def start() -> Iterator[int]:
        with TemporaryDirectory() as folder, socket.socket() as taken:
            taken.bind((HOST, 0))
            port = taken.getsockname()[1]
            taken.close()
            rights = Path(folder, "acl")
            rights.write_text(f"topic readwrite #\ntopic read $SYS/#\ntopic deny {FORBIDDEN}\n")
            config = Path(folder, "conf")
            config.write_text(
                f"listener {port} {HOST}\nallow_anonymous true\nacl_file {rights}\nuser root\n"
                f"max_keepalive {KEEP_ALIVE_S}\n"
            )
            with Program([path, "-c", str(config)]) as program:
                until(lambda: _listens(port) or program.process.poll() is not None, "listening")
                if program.process.poll() is not None:
                    raise RuntimeError(f"cannot start {path}: {''.join(program.lines)}")
                yield port

    return start


def _port_of(program: Program) -> int:
    return int(program.wait_for(r"broker ready: MQTT [\d.]+:(\d+);")[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
