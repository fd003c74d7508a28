"""Runs `hecate up --nodes N`: starts a cluster, shows it live, ends everything."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.live import Live

from gateway.cli.output import console, notes
from gateway.cli.up.keys import typed_keys
from gateway.cli.up.lock import hold_folders
from gateway.cli.up.nodes.screen import render_nodes
from gateway.cli.up.nodes.states import Changes, as_fields, leader_of
from gateway.cli.up.nodes.system import ClusterSystem
from gateway.cli.up.plan import Plan
from gateway.cli.up.ports import check_ports
from gateway.cli.up.progress import StartProgress
from gateway.cli.up.run import LEAVE, Show, own_command
from gateway.cli.up.suggestions import Suggestion, shell_word
from gateway.cli.up.supervise import supervise

if TYPE_CHECKING:
    from rich.console import Console

REFRESH_S = 0.1
AGAIN = "r"  # the key that starts nodes again
LEAVE_OR_AGAIN = f"{AGAIN} starts what is gone again · {LEAVE}"
EVENTS_LIMIT = 100


def run_nodes(plan: Plan, count: int, show: Show, *, as_json: bool) -> int:
    """Run until a signal comes; return the exit code, CliError when something fails."""
    with hold_folders(plan.state, plan.logs):
        check_ports(plan.port_uses())
        asyncio.run(_Run(plan, count, show, as_json=as_json).run())
    return 0


class _Run:
    """One run, from the first child to the last."""

    def __init__(self, plan: Plan, count: int, show: Show, *, as_json: bool) -> None:
        self._plan, self._count, self._show, self._as_json = plan, count, show, as_json
        self._out: Console = notes() if as_json else console()
        self._lively = self._out.is_terminal and show is Show.AUTO and not as_json
        self._progress = StartProgress(self._out, lively=self._lively)
        self._changes = Changes()

    async def run(self) -> None:
        """Do the work until it ends, the cloud dies, or a signal comes."""
        system = ClusterSystem(self._plan, self._count, self._progress)
        await supervise(system, self._work(system), self._progress, self._plan.state)

    async def _work(self, system: ClusterSystem) -> None:
        await system.start()
        if self._as_json:
            await self._print_json(system)
            return
        home = Path.home()
        kept = (
            f"state {shell_word(self._plan.state, home)} · logs {shell_word(self._plan.logs, home)}"
        )
        self._progress.ready(self._tries(system), kept)
        if self._show is Show.ONCE:
            self._out.print(render_nodes(system.states()))
        elif self._lively:
            await self._show_live(system)
        else:
            await self._tell_changes(system)

    def _tries(self, system: ClusterSystem) -> list[Suggestion]:
        """Return commands; they are for the last node, which leads only when others are gone."""
        node, first = system.nodes[-1], system.nodes[0]
        hecate = own_command()
        at = f"--url {node.url} --state {shell_word(node.plan.plan.state, Path.home())}"
        leader = leader_of(system.states())
        kill = (f"kill -9 {leader.pid}",) if leader is not None else ()
        calls = (f"{hecate} call {first.plan.name} /healthz {at}",)
        return [
            Suggestion("Kill the supernode, and see another take over", kill),
            Suggestion("The cluster, as its last node sees it", (f"{hecate} nodes {at}",)),
            Suggestion("A call from the last node to the first", calls),
        ]

    async def _print_json(self, system: ClusterSystem) -> None:
        while True:
            states = system.states()
            if self._changes.take(states, time.monotonic()):
                sys.stdout.write(json.dumps(as_fields(states, time.time())) + "\n")
                sys.stdout.flush()
            if self._show is Show.ONCE:
                return
            await asyncio.sleep(REFRESH_S)

    async def _tell_changes(self, system: ClusterSystem) -> None:
        """Print a line for each change, and how to kill each new supernode."""
        known = leader_of(system.states())
        while True:
            states = system.states()
            for line in self._changes.take(states, time.monotonic()):
                self._progress.line(f"{_stamp()}  {line}")
            leader = leader_of(states)
            if leader is not None and known is not None and leader.pid != known.pid:
                self._progress.line(f"{_stamp()}  to kill this one: kill -9 {leader.pid}")
            known = leader or known
            await asyncio.sleep(REFRESH_S)

    async def _show_live(self, system: ClusterSystem) -> None:
        """Draw the table again and again; a key starts nodes again."""
        events: list[str] = []
        starting: asyncio.Task[None] | None = None
        with typed_keys() as keys, Live(console=self._out, auto_refresh=False) as live:
            while True:
                states = system.states()
                lines = self._changes.take(states, time.monotonic())
                events = [*events, *(f"{_stamp()}  {line}" for line in lines)][-EVENTS_LIMIT:]
                hint = LEAVE_OR_AGAIN if any(each.end for each in states) else LEAVE
                live.update(render_nodes(states, events, hint), refresh=True)
                if starting is not None and starting.done():
                    starting.result()
                    starting = None
                if AGAIN in keys() and starting is None:
                    starting = asyncio.create_task(system.start_again())
                await asyncio.sleep(REFRESH_S)


def _stamp() -> str:
    return time.strftime("%H:%M:%S")
