"""Runs `hecate up`: starts everything, suggests commands, shows it live, ends everything."""

import asyncio
import os
import shutil
import sys
import time
from contextlib import suppress
from enum import Enum
from pathlib import Path

from rich.console import Console
from rich.live import Live

from gateway.cli.client.contexts import DEFAULT_URL, find_context
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import find_state
from gateway.cli.errors import CliError
from gateway.cli.output import console
from gateway.cli.up.example import ensure_example
from gateway.cli.up.keys import quiet_keys
from gateway.cli.up.lock import hold_folders
from gateway.cli.up.plan import Plan
from gateway.cli.up.ports import check_ports
from gateway.cli.up.progress import StartProgress
from gateway.cli.up.suggestions import Endpoints, list_tries, shell_word
from gateway.cli.up.supervise import supervise
from gateway.cli.up.system import RunningSystem, System
from gateway.cli.view.screen import render
from gateway.cli.view.snapshot import Snapshot, parse_snapshot
from gateway.cli.view.watch import Watch
from hardware.simulated import SimulatedBoardError, find_micropython

REFRESH_S = 0.5
LEAVE = "Ctrl-C ends everything"


class Show(Enum):
    """The ways to show a running system."""

    AUTO = "live in a terminal, else plain"
    PLAIN = "lines when something changes"
    ONCE = "one picture, then the end"


def run_up(plan: Plan, show: Show) -> int:
    """Run until a signal comes; return the exit code, CliError when something fails."""
    try:
        if plan.devices:
            find_micropython()
    except SimulatedBoardError as exc:
        raise CliError(f"{exc}, or give --devices 0") from exc
    with hold_folders(plan.state, plan.logs):
        check_ports(plan.port_uses())
        asyncio.run(_Run(plan, show, console()).run())
    return 0


class _Run:
    """One run, from the first child to the last."""

    def __init__(self, plan: Plan, show: Show, out: Console) -> None:
        self._plan, self._show, self._out = plan, show, out
        self._lively = out.is_terminal and show is Show.AUTO
        self._progress = StartProgress(out, lively=out.is_terminal and show is not Show.PLAIN)

    async def run(self) -> None:
        """Do the work until it ends, a part dies, or a signal comes."""
        system = System(self._plan, self._progress)
        await supervise(system, self._work(system), self._progress, self._plan.state)

    async def _work(self, system: System) -> None:
        running = await system.start()
        sidecar = system.sidecar
        assert sidecar is not None
        with self._progress.step("example", "deploying") as step:
            step.result = await ensure_example(sidecar)
        snapshot = await _snapshot(sidecar)
        where = _whereabouts(self._plan, running, snapshot)
        home = Path.home()
        kept = (
            f"state {shell_word(self._plan.state, home)} · logs {shell_word(self._plan.logs, home)}"
        )
        self._progress.ready(list_tries(where), kept)
        if self._show is Show.ONCE:
            self._out.print(render(Watch().take(snapshot, 0.0), time.time()))
        elif self._lively:
            await self._show_live(sidecar, snapshot)
        else:
            await self._tell_changes(sidecar)

    async def _show_live(self, sidecar: SidecarClient, snapshot: Snapshot) -> None:
        watch = Watch()
        hint = LEAVE
        with quiet_keys(), Live(console=self._out, auto_refresh=False) as live:
            while True:
                picture = watch.take(snapshot, time.monotonic())
                live.update(render(picture, time.time(), hint), refresh=True)
                await asyncio.sleep(REFRESH_S)
                try:
                    snapshot, hint = await _snapshot(sidecar), LEAVE
                except CliError:
                    hint = "the gateway does not answer"

    async def _tell_changes(self, sidecar: SidecarClient) -> None:
        watch = Watch()
        while True:
            with suppress(CliError):  # if it has died, its watcher reports it
                for line in watch.changes(await _snapshot(sidecar)):
                    self._progress.line(f"{time.strftime('%H:%M:%S')}  {line}")
            await asyncio.sleep(REFRESH_S)


async def _snapshot(sidecar: SidecarClient) -> Snapshot:
    return parse_snapshot(await sidecar.call("read status", "GET", "/status/v1"))


def _whereabouts(plan: Plan, running: RunningSystem, snapshot: Snapshot) -> Endpoints:
    example = next((c for c in snapshot.containers if c.name == "climate"), None)
    home = Path.home()
    options = []
    if plan.state != find_state(None, os.environ):
        options.append(f"--state {shell_word(plan.state, home)}")
    default = os.environ.get("HECATE_URL", DEFAULT_URL).rstrip("/")
    if running.gateway.api != default or _has_context():
        options.append(f"--url {running.gateway.api}")
    return Endpoints(
        hecate=own_command(),
        api=running.gateway.api,
        cloud=running.cloud.api,
        mqtt=running.gateway.mqtt,
        cloud_mqtt=running.cloud.mqtt,
        node_id=running.node_id,
        account_id=running.account_id,
        service_path=example.path if example else "",
        device_id=running.device_ids[0] if running.device_ids else "",
        cloud_token=shell_word(plan.cloud_token, home),
        target_options=" ".join(options),
        has_mosquitto=shutil.which("mosquitto_sub") is not None,
    )


def _has_context() -> bool:
    """Return whether commands without options may use a context."""
    try:
        return find_context(os.environ) is not None
    except CliError:
        return True


def own_command() -> str:
    """Return the command that calls this program again."""
    beside = Path(sys.executable).parent / "hecate"
    on_path = shutil.which("hecate")
    if on_path is not None and Path(on_path).samefile(beside if beside.exists() else on_path):
        return "hecate"
    return str(beside) if beside.exists() else f"{sys.executable} -m gateway"
