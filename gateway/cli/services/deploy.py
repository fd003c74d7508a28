"""Sends a microservice to a gateway and waits until it runs."""

import asyncio
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json, transfer_progress
from gateway.cli.packaging.archive import is_archive, load_archive
from gateway.cli.packaging.builder import BuildOptions, Package, build_folder
from gateway.cli.packaging.platforms import ImagePlatform, parse_platform
from gateway.cli.packaging.progress import build_with_progress
from gateway.cli.packaging.requirements import REQUIREMENTS
from gateway.cli.services.containers import CONTAINERS, IMAGES
from gateway.cli.services.log_tail import explain_end, last_line
from gateway.cli.services.rollouts import RolloutBody, RolloutOptions, roll_out
from gateway.cli.services.settings import ValueChanges
from gateway.node.machine import local_python

START_S = 30.0
EXTRA_S = 30.0  # for what else a deployment does: it unpacks an image
POLL_S = 0.2
STARTED = "started"
BROKEN = frozenset({"failed", "error", "stopped"})


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """The choices of a deployment."""

    source: Path  # a folder, or an image
    name: str | None = None  # of the container; None: the microservice's
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    values: ValueChanges = field(default_factory=ValueChanges)
    signing_key: Path | None = None
    upgrade: bool = False
    rollout: RolloutOptions = field(default_factory=RolloutOptions)


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """The container that an image is to run in."""

    name: str
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    values: ValueChanges = field(default_factory=ValueChanges)


async def deploy(target: Target, options: DeployOptions, *, as_json: bool) -> int:
    """Deploy a folder or an image; print the URL to call; return the exit code."""
    async with SidecarClient(target) as sidecar:
        package = await make_package(sidecar, options)
    name = options.name or package.name
    async with SidecarClient(target, package.start_s + EXTRA_S) as sidecar:
        if options.rollout.is_wanted:
            with transfer_progress() as progress:
                task = progress.add_task(package.image, total=len(package.tar))
                await upload(sidecar, package, lambda sent: progress.update(task, completed=sent))
            if package.native_for:
                text = f"its packages are for {package.native_for}: other kinds of nodes will fail"
                notes().print(text, style="yellow", soft_wrap=True)
            body = RolloutBody(name, package.image, options.env)
            return await roll_out(sidecar, body, options.rollout, as_json=as_json)
        began, before = time.monotonic(), await find_by_name(sidecar, name)
        container = await _send(sidecar, package, name, options, before)
        path = await _path_of(sidecar, str(container["id"]))
    url = f"{target.url}{path}" if path else ""
    is_same = before.get("startedAt", 0) == container.get("startedAt", 1)
    if as_json:
        print_json({"container": container, "url": url, "already_running": is_same})
    else:
        took_s = 0.0 if is_same else time.monotonic() - began
        _report(container, package, url, took_s)
    return 0


def _report(container: Mapping[str, Any], package: Package, url: str, took_s: float) -> None:
    """Print the URL; say beside it what was done, `took_s` = 0 for nothing."""
    out, name = notes(), container.get("name")
    does = f"runs {package.image}" if took_s else "runs this very image already"
    hint = "" if took_s else f"; `hecate restart {name}` starts it anew"
    took = f" after {took_s:.1f} s" if out.is_terminal and took_s else ""
    out.print(f"{name} {does}{hint}{took}", style="dim", soft_wrap=True)
    console().print(url or "started; it has no HTTP routes", soft_wrap=True)
    if out.is_terminal:
        calls = f"hecate invoke {name}   " if url else ""
        out.print(f"next: {calls}hecate logs -f {name}", style="dim", soft_wrap=True)


async def make_package(sidecar: SidecarClient, options: DeployOptions) -> Package:
    """Return what is to be sent: an image as it is, or that of a folder, built for the gateway."""
    if is_archive(options.source):
        return load_archive(options.source)
    build = BuildOptions(signing_key=options.signing_key, upgrade=options.upgrade, verb="deploy")
    if not (options.source / REQUIREMENTS).is_file():
        return await asyncio.to_thread(build_folder, options.source, build)
    build = replace(build, platform=await gateway_platform(sidecar))
    return await asyncio.to_thread(build_with_progress, options.source, build)


async def gateway_platform(sidecar: SidecarClient) -> ImagePlatform:
    """Return the platform of a gateway's machine and interpreter."""
    node = (await sidecar.call("deploy", "GET", "/status/v1")).get("node") or {}
    name = str(node.get("platform") or "linux/amd64")
    return parse_platform(name, str(node.get("python") or local_python()), str(node.get("glibc")))


async def _send(
    sidecar: SidecarClient,
    package: Package,
    name: str,
    options: DeployOptions,
    before: Mapping[str, Any],
) -> dict[str, Any]:
    mark = await last_line(sidecar, before)
    with transfer_progress() as progress:
        task = progress.add_task(package.image, total=len(package.tar))

        def show(sent: int) -> None:
            progress.update(task, completed=sent)
            if sent >= len(package.tar):
                progress.update(task, description=f"{package.image} starting")

        try:
            container = ContainerOptions(name, options.env, options.values)
            return await deploy_package(sidecar, package, container, on_sent=show)
        except CliError as exc:
            progress.stop()
            raise CliError(f"{exc}{await explain_end(sidecar, name, mark)}") from exc


async def deploy_package(
    sidecar: SidecarClient,
    package: Package,
    container: ContainerOptions,
    on_sent: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Upload and start; return the container once it runs, CliError if it does not."""
    what = f"deploy {container.name}"
    await upload(sidecar, package, on_sent)
    body = {"name": container.name, "image": package.image, "env": dict(container.env)}
    body |= container.values.body()
    made = await sidecar.call(what, "POST", CONTAINERS, json=body)
    if not isinstance(made, dict) or "id" not in made:
        raise CliError(f"cannot {what}: the gateway did not say which container it made")
    return await _wait_started(sidecar, what, made)


async def upload(
    sidecar: SidecarClient, package: Package, on_sent: Callable[[int], None] = lambda _: None
) -> None:
    """Send an image; the containers that run it go on as they are."""
    files = {"image": (f"{package.image}.tar", _Counted(package.tar, on_sent))}
    only = {"storeOnly": "true"}  # one deployment with image and variables is one version
    await sidecar.call(f"deploy {package.name}", "POST", IMAGES, files=files, params=only)


async def find_by_name(sidecar: SidecarClient, name: str) -> dict[str, Any]:
    """Return the container of a name; an empty one when there is none."""
    rows = rows_of(await sidecar.call(f"deploy {name}", "GET", CONTAINERS))
    return next((row for row in rows if row.get("name") == name), {})


async def _wait_started(
    sidecar: SidecarClient, what: str, container: dict[str, Any]
) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_S
    while container.get("state") != STARTED:
        state = str(container.get("state", "unknown"))
        if state in BROKEN or loop.time() > deadline:
            raise CliError(f"cannot {what}: {container.get('error') or f'it is {state}'}")
        await asyncio.sleep(POLL_S)
        rows = rows_of(await sidecar.call(what, "GET", CONTAINERS))
        container = next((row for row in rows if row.get("id") == container["id"]), container)
    return container


async def _path_of(sidecar: SidecarClient, container_id: str) -> str:
    status = await sidecar.call("read status", "GET", "/status/v1")
    for row in status.get("containers") or ():
        if row.get("id") == container_id:
            return str(row.get("path") or "")
    return ""


class _Counted(io.BytesIO):
    """A file that reports how much of it was read."""

    def __init__(self, content: bytes, on_read: Callable[[int], None]) -> None:
        super().__init__(content)
        self._on_read = on_read

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self._on_read(self.tell())
        return piece
