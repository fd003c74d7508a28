"""Makes hosts: network namespaces joined by a bridge, with real multicast. Needs root, ip and nft.

The bridge has a namespace of its own, the switch, so that its packet filter touches nothing else of
the machine. Namespaces are named after the process that made them. The end of the context removes
them, and each start removes those of processes that were killed.
"""

import ctypes
import functools
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.hosts.faults import Faults
from tests.programs import Program

_COUNT = itertools.count()
CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")
PREFIX = "hecate-"


@functools.cache
def find_obstacle() -> str:
    """Return why no network namespace can be made here; "" when it can."""
    if os.getuid() != 0:
        return "needs root, for network namespaces"
    missing = [name for name in ("ip", "nft") if shutil.which(name) is None]
    if missing:
        return f"needs {' and '.join(missing)} (iproute2, nftables)"
    probe = f"{PREFIX}{os.getpid()}-probe"
    done = subprocess.run(("ip", "netns", "add", probe), capture_output=True, check=False)
    subprocess.run(("ip", "netns", "del", probe), capture_output=True, check=False)
    return f"cannot make network namespaces: {done.stderr.decode()}" if done.returncode else ""


def require_namespaces() -> None:
    """Skip where no network namespace can be made; CI must be able to."""
    if why := find_obstacle():
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


def run_ip(*words: str) -> None:
    done = subprocess.run(("ip", *words), check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def remove_leftovers() -> None:
    """Remove the namespaces of processes that are no more."""
    for path in NAMESPACES.glob(f"{PREFIX}*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            remove_namespace(path.name)


def remove_namespace(name: str) -> None:
    subprocess.run(("ip", "netns", "del", name), check=False, capture_output=True)


class Host:
    """One network namespace; `eth0` is its interface on the bridge unless it was changed."""

    def __init__(self, network: "Network", number: int) -> None:
        self.network, self.number = network, number
        self.namespace = f"{network.namespace}-{number}"
        self.name = f"h{number}"
        self.interface = "eth0"
        self.address = f"10.77.0.{number + 1}"  # "": none
        run_ip("netns", "add", self.namespace)
        self.ip("link", "set", "lo", "up")

    @property
    def port(self) -> str:
        """The end of its cable at the bridge."""
        return f"v{self.number}"

    def ip(self, *words: str) -> None:
        """Run an ip command on this host."""
        run_ip("-n", self.namespace, *words)

    def plug(self, interface: str = "eth0", address: str = "") -> None:
        """Connect it to the bridge by a new interface; IPv6 is left to its link-local address."""
        switch = self.network.namespace
        peer = ("peer", "name", interface, "netns", self.namespace)
        run_ip("-n", switch, "link", "add", self.port, "type", "veth", *peer)
        self._set_up(interface, address)

    def plug_slow(self, delay_s: float) -> Program:
        """Connect it by a cable that delays each frame; the program is the cable."""
        switch = self.network.namespace
        ends = (self.namespace, "eth0", switch, self.port)
        cable = Program((sys.executable, "-m", "tests.hosts.delay", *ends, str(delay_s)))
        cable.wait_for("ready")
        self._set_up("eth0", "")
        return cable

    def _set_up(self, interface: str, address: str) -> None:
        self.interface = interface
        self.address = address or f"10.77.0.{self.number + 1}"
        run_ip("-n", self.network.namespace, "link", "set", self.port, "master", "bridge0", "up")
        self.ip("addr", "add", f"{self.address}/24", "dev", interface)
        self.ip("link", "set", interface, "up")
        self.ip("route", "add", "224.0.0.0/4", "dev", interface)

    def add_cable(self) -> None:
        """Join it to a second bridge, by eth1; it has a link-local address there."""
        switch, port = self.network.namespace, f"w{self.number}"
        if not self.network.has_second_bridge:
            self.network.add_bridge("bridge1")
            self.network.has_second_bridge = True
        peer = ("peer", "name", "eth1", "netns", self.namespace)
        run_ip("-n", switch, "link", "add", port, "type", "veth", *peer)
        run_ip("-n", switch, "link", "set", port, "master", "bridge1", "up")
        self.ip("link", "set", "eth1", "up")

    def unplug(self) -> None:
        """Remove the interface with its addresses."""
        run_ip("-n", self.network.namespace, "link", "del", self.port)

    def link(self, state: str) -> None:
        """Set the bridge's end up or down: what is sent is lost, without a FIN."""
        run_ip("-n", self.network.namespace, "link", "set", self.port, state)

    def limit_rate(self, rate: str) -> None:
        """Shape both directions of its cable, for example to "2mbit"."""
        shape = ("root", "tbf", "rate", rate, "burst", "16kb", "limit", "256kb")
        for namespace, device in (
            (self.namespace, self.interface),
            (self.network.namespace, self.port),
        ):
            command = ("tc", "-n", namespace, "qdisc", "replace", "dev", device, *shape)
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr

    def command(self, *words: str) -> tuple[str, ...]:
        """Return the command that runs a program on this host."""
        return ("ip", "netns", "exec", self.namespace, *words)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let sockets that this thread makes be of this host."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open() as before:
            with (NAMESPACES / self.namespace).open() as here:
                assert libc.setns(here.fileno(), CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert libc.setns(before.fileno(), CLONE_NEWNET) == 0


class Network:
    """A bridge and its hosts; a context that removes them.

    Args:
        hosts: how many are made.
        plugged: False leaves them with loopback alone.
    """

    def __init__(self, hosts: int, *, plugged: bool = True) -> None:
        require_namespaces()
        remove_leftovers()
        self.namespace = f"{PREFIX}{os.getpid()}-{next(_COUNT)}"
        self.hosts: list[Host] = []
        self.faults = Faults()
        self.has_second_bridge = False
        run_ip("netns", "add", self.namespace)
        try:
            self.add_bridge("bridge0")
            for _ in range(hosts):
                host = self.add_host()
                if plugged:
                    host.plug()
        except BaseException:
            self.remove()
            raise

    def add_bridge(self, name: str) -> None:
        """Make one more bridge, without cables."""
        bridge = ("type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
        run_ip("-n", self.namespace, "link", "add", name, *bridge)
        run_ip("-n", self.namespace, "link", "set", name, "up")

    def add_host(self) -> Host:
        """Make one more host, without a cable."""
        host = Host(self, len(self.hosts))
        self.hosts.append(host)
        return host

    def set_faults(self, faults: Faults | None = None) -> None:
        """Let the bridge drop what the faults say, and nothing else."""
        self.faults = faults or Faults()
        command = ("ip", "netns", "exec", self.namespace, "nft", "-f", "-")
        text = self.faults.ruleset()
        done = subprocess.run(command, input=text, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stderr}\n{text}"

    def remove(self) -> None:
        for host in self.hosts:
            remove_namespace(host.namespace)
        remove_namespace(self.namespace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()
