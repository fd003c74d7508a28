"""Makes hosts: network namespaces joined by a bridge, with real multicast. Needs root and ip.

Everything is named after the process that made it, and is removed by the context's end.
"""

import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.programs import Program
from tests.system import Gateway

_COUNT = itertools.count()
CLONE_NEWNET = 0x40000000


def require_namespaces() -> None:
    """Skip where no network namespace can be made; CI must be able to."""
    if os.getuid() != 0 or shutil.which("ip") is None:
        if os.environ.get("CI"):
            pytest.fail("tests of hosts need root and iproute2")
        pytest.skip("needs root and iproute2")


def run_ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True)


class Host:
    """One network namespace with an interface on the bridge."""

    def __init__(self, network: "Network", number: int) -> None:
        self.network, self.number = network, number
        self.name = f"{network.name}h{number}"
        self.address = f"10.77.{network.number}.{number + 1}"
        self.veth = f"{network.name}v{number}"  # the end at the bridge
        run_ip("netns", "add", self.name)
        run_ip("-n", self.name, "link", "set", "lo", "up")
        self.plug()

    def plug(self) -> None:
        """Connect it to the bridge."""
        run_ip("link", "add", self.veth, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run_ip("link", "set", self.veth, "master", self.network.name, "up")
        run_ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        run_ip("-n", self.name, "link", "set", "eth0", "up")
        run_ip("-n", self.name, "route", "add", "224.0.0.0/4", "dev", "eth0")

    def link(self, state: str) -> None:
        """Set the bridge's end up or down: what is sent is lost, without a FIN."""
        run_ip("link", "set", self.veth, state)

    def command(self, *words: str) -> tuple[str, ...]:
        """Return the command that runs a program on this host."""
        return ("ip", "netns", "exec", self.name, *words)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let sockets that this thread makes be of this host."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open() as before:
            with Path(f"/run/netns/{self.name}").open() as here:
                assert libc.setns(here.fileno(), CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert libc.setns(before.fileno(), CLONE_NEWNET) == 0

    def remove(self) -> None:
        subprocess.run(("ip", "link", "del", self.veth), check=False, capture_output=True)
        subprocess.run(("ip", "netns", "del", self.name), check=False, capture_output=True)


class Network:
    """A bridge and its hosts; a context that removes them."""

    def __init__(self, hosts: int) -> None:
        require_namespaces()
        self.number = (os.getpid() * 7 + next(_COUNT)) % 256
        self.name = f"hn{os.getpid() % 100_000}"[:9]
        run_ip(
            "link", "add", self.name, "type", "bridge", "mcast_snooping", "0", "forward_delay", "0"
        )
        run_ip("link", "set", self.name, "up")
        self.hosts: list[Host] = []
        try:
            for number in range(hosts):
                self.hosts.append(Host(self, number))
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        for host in self.hosts:
            host.remove()
        subprocess.run(("ip", "link", "del", self.name), check=False, capture_output=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()


class HostGateway(Gateway):
    """A gateway on a host of its own; calls of its API enter that host."""

    def __init__(self, host: Host, state: Path, **environ: str) -> None:
        self.host = host
        super().__init__(
            state,
            HECATE_GATEWAY_NODE_NAME=host.name,
            HECATE_GATEWAY_CLUSTER_ADMIT="secret",
            HECATE_GATEWAY_CLUSTER_SECRET="a secret of the cluster",
            **environ,
        )

    def command(self) -> tuple[str, ...]:
        return self.host.command(*super().command())

    def ask(self, method: str, path: str, key: str | None = None, **more: object):  # type: ignore[no-untyped-def]
        with self.host.inside():
            return super().ask(method, path, key, **more)


__all__ = ["Host", "HostGateway", "Network", "Program"]
