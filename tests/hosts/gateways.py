"""Runs gateways on hosts of a test network, and keeps what they say with its time."""

import re
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.hosts.history import View
from tests.hosts.network import Host
from tests.programs import Program, until
from tests.system import Gateway

SECRET = "a secret of the cluster"
CLUSTER_PORT = 8084
ROLE = re.compile(r"role (\w+), supernode (\w+), epoch (\d+)")
T = TypeVar("T")
G = TypeVar("G", bound="HostGateway")


class HostGateway(Gateway):
    """A gateway on a host of its own; calls of its API enter that host."""

    def __init__(self, host: Host, state: Path, **environ: str) -> None:
        self.host = host
        self.programs: list[Program] = []  # earlier runs too
        super().__init__(
            state,
            **{
                "HECATE_GATEWAY_NODE_NAME": host.name,
                "HECATE_GATEWAY_CLUSTER_ADMIT": "secret",
                "HECATE_GATEWAY_CLUSTER_SECRET": SECRET,
                "HECATE_GATEWAY_CLUSTER_PORT": str(CLUSTER_PORT),
                **environ,
            },
        )

    def command(self) -> tuple[str, ...]:
        return self.host.command(*super().command())

    def start(self) -> None:
        try:
            super().start()
        except BaseException:
            self.program.process.kill()
            raise
        finally:
            self.programs.append(self.program)

    def ask(self, method: str, path: str, key: str | None = None, **more: Any) -> httpx.Response:
        with self.host.inside():
            return super().ask(method, path, key, verify=False, **more)  # no TLS: reads no CAs

    def cluster(self) -> dict[str, Any]:
        """Return its state of the cluster."""
        state: dict[str, Any] = self.call("GET", "/cluster/v1")
        return state

    def listed(self) -> set[str]:
        """Return the ids of the nodes in its list."""
        return {str(member["id"]) for member in self.cluster()["members"]}

    def freeze(self) -> None:
        """Let it stand still, as a machine that sleeps."""
        self.program.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let a frozen one go on."""
        self.program.process.send_signal(signal.SIGCONT)

    def lose_power(self) -> None:
        """End it at once, without a packet."""
        self.host.link("down")
        self.program.kill()

    def get_power(self) -> None:
        """Start it again after a loss of power."""
        self.host.link("up")
        self.start()

    def last_view(self) -> View | None:
        """Return the role that it has, from its log; None when it has told none yet."""
        return next(reversed(self._views_of(self.program)), None)

    def views(self) -> list[View]:
        """Return the roles that it has had, from its log."""
        return [view for program in self.programs for view in self._views_of(program)]

    def _views_of(self, program: Program) -> list[View]:
        node = self.node_id[:12]
        found = []
        for line, at in list(zip(program.lines, program.read_at, strict=False)):
            if match := ROLE.search(line):
                supernode = "" if match[2] == "none" else match[2]
                found.append(View(at, node, match[1], supernode, int(match[3])))
        return found


def start_gateways(
    stack: ExitStack, hosts: Sequence[Host], folder: Path, **environ: str
) -> list[HostGateway]:
    """Start a gateway on each host, all at the same time; the stack ends them."""
    return in_parallel(lambda host: start_gateway(stack, host, folder, **environ), hosts, at_once=4)


def start_gateway(stack: ExitStack, host: Host, folder: Path, **environ: str) -> HostGateway:
    """Start a gateway; the stack ends it."""
    return stack.enter_context(HostGateway(host, folder / host.name, **environ))


def in_parallel(work: Callable[[Any], T], of: Sequence[Any], at_once: int = 32) -> list[T]:
    """Do the same for each, side by side; the first error counts."""
    with ThreadPoolExecutor(min(at_once, max(1, len(of)))) as pool:
        return list(pool.map(work, of))


def supernodes(gateways: Sequence[HostGateway]) -> set[str]:
    """Return the supernodes that gateways follow; "" stands for none."""
    return {str(each.status()["cluster"]["supernodeId"]) for each in gateways}


def until_one_cluster(gateways: Sequence[G], timeout_s: float = 20) -> G:
    """Wait until they follow one of them and list each other; return that one.

    Their logs tell whom they follow: with many nodes, asking all of them again and again would be
    the greatest load of all.
    """
    everybody = {each.node_id for each in gateways}

    def find_leader() -> G | None:
        last = [each.last_view() for each in gateways]
        led = {view.supernode for view in last if view is not None}
        leaders = [g for g, view in zip(gateways, last, strict=True) if view and view.leads]
        if None in last or len(led) != 1 or led != {each.node_id[:12] for each in leaders}:
            return None
        is_one = all(each.listed() == everybody for each in gateways)
        return leaders[0] if is_one and last == [g.last_view() for g in gateways] else None

    try:
        leader = until(find_leader, f"one cluster of {len(everybody)} nodes", timeout_s)
    except AssertionError as exc:
        state = "\n".join(
            f"{g.host.name}: {g.last_view()}, lists {len(g.listed())}" for g in gateways
        )
        raise AssertionError(f"{exc}\n{state}") from None
    assert leader is not None
    return leader
