"""Starts gateways of a cluster on loopback, and reads their roles from their logs."""

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.brokers import SCRATCH
from benchmarks.errors import PeerError
from tests.ports import free_port
from tests.system import Gateway

SECRET = "a secret of the cluster"
ROLE = re.compile(r"role (\w+), supernode (\w+), epoch")
PATIENCE_S = 60.0
LOOK_S = 0.002


class LoopbackGateway(Gateway):
    """A gateway of a cluster on this machine."""

    def __init__(self, folder: Path, port: int, peers: Sequence[str], **environ: str) -> None:
        super().__init__(
            folder,
            HECATE_GATEWAY_NODE_NAME=folder.name,
            HECATE_GATEWAY_CLUSTER_ADMIT="secret",
            HECATE_GATEWAY_CLUSTER_SECRET=SECRET,
            HECATE_GATEWAY_CLUSTER_HOST="127.0.0.1",
            HECATE_GATEWAY_CLUSTER_PORT=str(port),
            HECATE_GATEWAY_CLUSTER_DISCOVERY="false",
            HECATE_GATEWAY_CLUSTER_PEERS=",".join(peers),
            **environ,
        )


def role_since(gateway: Gateway, role: str, supernode_id: str, since: float) -> float | None:
    """Return when a gateway's log tells a role under a supernode ("" for any), after a time."""
    program = gateway.program
    for line, at in zip(list(program.lines), list(program.read_at), strict=False):
        found = ROLE.search(line) if at >= since else None
        if found and found[1] == role and supernode_id.startswith(found[2] if supernode_id else ""):
            return at
    return None


def wait_for(condition: Callable[[], float | None], what: str) -> float:
    """Return the condition's first value that is not None; PeerError when there is none."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = condition()
        if value is not None:
            return value
        time.sleep(LOOK_S)
    raise PeerError(f"cannot measure: no {what} within {PATIENCE_S:.0f} s")


def leader_of(gateways: Sequence[Gateway]) -> Gateway | None:
    """Return the gateway that all follow and whose list has all; None while there is none."""
    ids = {each.node_id for each in gateways}
    for gateway in gateways:
        cluster = gateway.call("GET", "/cluster/v1")
        if {each["id"] for each in cluster["members"]} != ids:
            return None
    leaders = {str(each.status()["cluster"]["supernodeId"]) for each in gateways}
    return next((each for each in gateways if leaders == {each.node_id}), None)


def until_settled(gateways: Sequence[Gateway]) -> Gateway:
    """Return the supernode when all are one cluster."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if leader := leader_of(gateways):
            return leader
        time.sleep(0.1)
    raise PeerError(f"cannot measure: no cluster within {PATIENCE_S:.0f} s")


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """Give a folder on a disk that is gone afterwards."""
    SCRATCH.mkdir(exist_ok=True)
    with TemporaryDirectory("", f"{name}-{os.getpid()}-", SCRATCH) as folder:
        yield Path(folder)


def start_gateways(
    stack: ExitStack, folder: Path, count: int, **environ: str
) -> list[LoopbackGateway]:
    """Start gateways that know each other; the stack ends them."""
    ports = [free_port() for _ in range(count)]
    peers = [f"127.0.0.1:{port}" for port in ports]
    return [
        stack.enter_context(LoopbackGateway(folder / f"n{number}", port, peers, **environ))
        for number, port in enumerate(ports)
    ]
