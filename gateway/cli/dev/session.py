"""Deploys a folder, and again after every save, while its log is shown."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.dev.gateway import find_or_start
from gateway.cli.dev.log_follower import LogFollower
from gateway.cli.dev.places import name_places
from gateway.cli.dev.screen import DevScreen
from gateway.cli.dev.syntax import find_syntax_error
from gateway.cli.dev.watch import POLL_S, ChangeDetector, read_states
from gateway.cli.errors import CliError
from gateway.cli.packaging.builder import BuildOptions, Package, build_folder
from gateway.cli.packaging.requirements import REQUIREMENTS
from gateway.cli.scaffold import explain_missing
from gateway.cli.services.containers import BASE_KEY, CONTAINERS, IMAGES
from gateway.cli.services.deploy import (
    STARTED,
    ContainerOptions,
    deploy_package,
    find_by_name,
    gateway_platform,
)
from gateway.cli.services.log_lines import LogParser
from gateway.cli.services.settings import ValueChanges
from gateway.services.errors import ImageError
from gateway.services.images.manifest import FILE_NAME, parse_manifest

if TYPE_CHECKING:
    from gateway.cli.packaging.platforms import ImagePlatform

NAME_LIMIT = 40  # of a microservice
SUFFIX = "-dev"
FIRST_LINES = 1000  # of a log that begins with this session
TIMEOUT_S = 660.0  # a microservice may take 600 s to start
CHANGES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class DevOptions:
    """The choices of one session."""

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    values: ValueChanges = field(default_factory=ValueChanges)
    keep: bool = False
    as_json: bool = False


async def develop(options: DevOptions, url: str | None, state: Path | None) -> int:
    """Run a session until Ctrl-C or SIGTERM; return the exit code."""
    if not options.folder.is_dir():
        raise CliError(
            f"cannot run {options.folder}: no such folder; `hecate new {options.folder}` makes it"
        )
    if missing := explain_missing(options.folder):
        raise CliError(f"cannot run {options.folder}: {missing}")
    stop = asyncio.Event()
    async with (
        find_or_start(url, state, ask=not options.as_json) as target,
        SidecarClient(target, TIMEOUT_S) as sidecar,
    ):
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        session = DevSession(sidecar, options)
        await session.begin()
        running = asyncio.create_task(session.run(), name="session")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            running.cancel()
            stopped.cancel()
            await asyncio.wait({running, stopped})
            await session.end()
    if not running.cancelled():
        running.result()  # an error that no save can mend
    return 0


class DevSession:
    """One folder on one gateway, under a name of its own."""

    def __init__(self, sidecar: SidecarClient, options: DevOptions) -> None:
        self._sidecar, self._options = sidecar, options
        self._folder = options.folder
        self._screen = DevScreen(as_json=options.as_json)
        self._name = f"{self._base_name()[: NAME_LIMIT - len(SUFFIX)]}{SUFFIX}"
        self._sent = ""  # digest of the last package that was sent
        self._images: set[str] = set()  # the images of this session
        self._files: frozenset[str] = frozenset()
        self._platform: ImagePlatform | None = None
        self._parser = LogParser()
        self._log = LogFollower(sidecar, self._show_line)

    async def begin(self) -> None:
        """Find out whether the gateway answers, and about a session before."""
        before = await find_by_name(self._sidecar, self._name)
        if before:
            self._log.start(str(before["id"]), 0)

    async def run(self) -> None:
        """Deploy, and again after every change; never returns."""
        states = read_states(self._folder)
        detector, self._files = ChangeDetector(states), frozenset(states)
        await self._deploy([])
        self._screen.event("watching", f"watching {self._folder}; Ctrl-C ends it", "dim")
        while True:
            await asyncio.sleep(POLL_S)
            states = await asyncio.to_thread(read_states, self._folder)
            if changed := detector.look(states):
                self._files = frozenset(states)
                await self._deploy(changed)

    async def end(self) -> None:
        """Remove what the session has made, unless it is to be kept."""
        await self._log.stop()
        if self._options.keep:
            hint = f"{self._name} runs on; `hecate rm {self._name}` removes it"
            self._screen.event("kept", hint, "dim")
            return
        try:
            await self._remove()
        except CliError as exc:
            self._screen.event("error", f"{exc}", "red")
            return
        self._screen.event("removed", f"{self._name} is removed", "dim")

    async def _remove(self) -> None:
        what = f"remove {self._name}"
        container = await find_by_name(self._sidecar, self._name)
        if container:
            await self._sidecar.call(what, "DELETE", f"{CONTAINERS}/{container['id']}")
        for image in rows_of(await self._sidecar.call(what, "GET", IMAGES)):
            if image.get("name") in self._images:
                await self._sidecar.call(what, "DELETE", f"{IMAGES}/{image['id']}")

    async def _deploy(self, changed: list[str]) -> None:
        """Build and deploy; show the reason when that fails. The version before continues."""
        if changed:
            more = f" and {len(changed) - CHANGES_SHOWN} more" if changed[CHANGES_SHOWN:] else ""
            names = ", ".join(changed[:CHANGES_SHOWN])
            self._screen.event("changed", f"changed: {names}{more}", "dim", files=changed)
        if error := await asyncio.to_thread(find_syntax_error, self._folder):
            self._fail(error)
            return
        began = time.monotonic()
        try:
            package = await self._build()
            if package.digest == self._sent:
                self._screen.event("unchanged", "nothing new in it", "dim")
                return
            self._images.add(package.image)
            env = {BASE_KEY: dev_base(package.base)} if package.base else {}
            options = ContainerOptions(
                self._name, {**env, **self._options.env}, self._options.values
            )
            container = await deploy_package(self._sidecar, package, options)
        except CliError as exc:
            self._fail(str(exc))
            await self._after_failure()
            return
        self._sent = package.digest
        self._log.start(str(container["id"]), FIRST_LINES)
        path = str((container.get("env") or {}).get(BASE_KEY) or "")
        url = f"{self._sidecar.url}{path}" if path else ""
        took_s = time.monotonic() - began
        self._screen.event(
            "running",
            f"{self._name} runs {url or '(no HTTP routes)'} after {took_s:.1f} s",
            "green",
            url=url,
        )

    async def _build(self) -> Package:
        if (self._folder / REQUIREMENTS).is_file() and self._platform is None:
            self._platform = await gateway_platform(self._sidecar)
        options = BuildOptions(rename=self._name, verb="run")
        if self._platform is not None:
            options = BuildOptions(self._platform, rename=self._name, verb="run")
        return await asyncio.to_thread(build_folder, self._folder, options)

    def _fail(self, why: str) -> None:
        keeps = "; the version before runs on" if self._sent else ""
        text = name_places(why, str(self._folder), self._files)
        first, *others = text.splitlines()
        self._screen.event("error", "\n".join([f"{first}{keeps}", *others]), "red", error=text)

    async def _after_failure(self) -> None:
        """Follow the log of a container that does not start, and end its retries until a save."""
        with contextlib.suppress(CliError):
            container = await find_by_name(self._sidecar, self._name)
            if not container:
                return
            self._log.start(str(container["id"]), FIRST_LINES)
            if container.get("state") != STARTED:
                path = f"{CONTAINERS}/{container['id']}"
                what = f"stop {self._name}"
                await self._sidecar.call(what, "PUT", path, json={"state": "stopped"})

    def _show_line(self, text: str) -> None:
        own = name_places(text, str(self._folder), self._files)
        self._screen.log(self._parser.parse(own), is_own=own != text)

    def _base_name(self) -> str:
        try:
            text = (self._folder / FILE_NAME).read_text(encoding="utf-8")
            return parse_manifest(text).name
        except ImageError as exc:
            raise CliError(f"cannot run {self._folder}: {exc}") from exc
        except (OSError, UnicodeDecodeError) as exc:
            raise CliError(f"cannot read {self._folder / FILE_NAME}: {exc}") from exc


def dev_base(base: str) -> str:
    """Return the HTTP path of a session: /hello/v1 becomes /hello-dev/v1."""
    _, first, *others = base.split("/")
    return "/".join(["", f"{first}{SUFFIX}", *others])
