"""Runs the same handler as a microservice in Python or JavaScript, and as rivals' programs.

Each publishes what comes on in/N to out/N at QoS 1.
"""

import sys
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import PeerError
from benchmarks.services.figures import JAVASCRIPT, NODE_RED, PAHO, PYTHON
from benchmarks.services.gateways import BenchGateway
from benchmarks.services.processes import program
from benchmarks.services.rivals.node_red import run_node_red

MANIFEST = """\
name = "echo"
[mqtt]
subscribe = ["in/#"]
publish = ["out/#"]
"""
SERVICE = """\
import time
from microservice import Service
service = Service()
@service.on("in/#")
async def echo(message):
    stamp = b"%020d" % time.perf_counter_ns()
    await service.publish("out" + message.topic[2:], stamp + message.payload)
"""
SCRIPT = """\
mimikModule.exports = async (context, request, response) => {
  const message = JSON.parse(request.body);
  await context.mqtt.publish("out" + message.topic.slice(2), message.payload, { qos: 1 });
  response.end();
};
"""
SUBSCRIBED_S = 20.0
LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class RunningHandler:
    """A handler that is subscribed."""

    pids: Callable[[], Set[int]]  # of its processes
    container_id: str = ""  # "" for a rival
    stamps: bool = False  # it puts the time in front of the payload


@contextmanager
def run_handler(subject: str, gateway: BenchGateway) -> Iterator[RunningHandler]:
    """Run a handler; return when it is subscribed."""
    if subject == PAHO:
        log = gateway.folder / "paho.log"
        command = [
            sys.executable,
            "-m",
            "benchmarks.services.rivals.paho_handler",
            str(gateway.mqtt_port),
        ]
        with program(command, log) as process:
            _wait_for(log, "subscribed")
            yield RunningHandler(lambda: {process.pid}, stamps=True)
    elif subject == NODE_RED:
        with run_node_red(gateway) as pid:
            yield RunningHandler(lambda: {pid})
    else:
        container_id = _deploy(subject, gateway)
        yield RunningHandler(lambda: gateway.front_pids("echo"), container_id, subject == PYTHON)


def _deploy(subject: str, gateway: BenchGateway) -> str:
    folder = gateway.folder / "echo"
    folder.mkdir()
    (folder / "microservice.toml").write_text(MANIFEST)
    if subject == JAVASCRIPT:
        (folder / "index.js").write_text(SCRIPT)
    else:
        (folder / "service.py").write_text(SERVICE)
    return gateway.create("echo", gateway.upload(folder))


def _wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + SUBSCRIBED_S
    while text not in log.read_text():
        if time.monotonic() > deadline:
            raise PeerError(f"cannot start the handler: {log.read_text()[-400:]}")
        time.sleep(LOOK_S)
