"""Packs a folder, sends it to a gateway and waits until it runs."""

import asyncio
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError, OptionError
from gateway.cli.output import console, notes, print_json
from gateway.cli.scaffold import explain_missing
from gateway.services.errors import ImageError
from gateway.services.images.manifest import FILE_NAME, parse_manifest
from gateway.services.images.pack import pack_image, packed_digest

START_S = 30.0
EXTRA_S = 30.0  # for what else a deployment does: it unpacks an image
POLL_S = 0.2
STARTED = "started"
BROKEN = frozenset({"failed", "error", "stopped"})


@dataclass(frozen=True, slots=True)
class Package:
    """A microservice, ready to be sent."""

    name: str
    image: str
    tar: bytes
    start_s: float = 30.0  # how long it may take to start

    @property
    def digest(self) -> str:
        """The digest by which the gateway names this content."""
        return packed_digest(self.tar)


async def deploy_folder(
    target: Target, directory: Path, name: str | None, env: Mapping[str, str], *, as_json: bool
) -> None:
    """Deploy a folder; print the URL to call."""
    package = pack_folder(directory)
    name = name or package.name
    async with SidecarClient(target, package.start_s + EXTRA_S) as sidecar:
        before = await _container(sidecar, name)
        with _progress() as progress:
            task = progress.add_task(package.image, total=len(package.tar))
            container = await deploy_package(
                sidecar,
                package,
                name,
                env,
                on_sent=lambda count: progress.update(task, completed=count),
            )
        path = await _path_of(sidecar, str(container["id"]))
    url = f"{target.url}{path}" if path else ""
    is_same = before.get("startedAt", 0) == container.get("startedAt", 1)
    if as_json:
        print_json({"container": container, "url": url, "already_running": is_same})
    else:
        does = "runs this very image already" if is_same else f"runs {package.image}"
        hint = f"; `hecate restart {name}` starts it anew" if is_same else ""
        notes().print(f"{container['id']} {does}{hint}", style="dim", soft_wrap=True)
        console().print(url or "started; it has no HTTP routes", soft_wrap=True)


def pack_folder(directory: Path) -> Package:
    """Return the package of a folder; CliError names the fault."""
    if not directory.is_dir():
        what = "not a folder" if directory.exists() else "no such folder"
        raise CliError(
            f"cannot deploy {directory}: {what}; `hecate init DIR` makes one with a microservice"
        )
    if missing := explain_missing(directory):
        raise CliError(f"cannot deploy {directory}: {missing}")
    try:
        tar = pack_image(directory)
        manifest = parse_manifest((directory / FILE_NAME).read_text(encoding="utf-8"))
    except ImageError as exc:
        raise CliError(str(exc)) from exc
    return Package(manifest.name, manifest.image, tar, manifest.limits.start_s or START_S)


async def deploy_package(
    sidecar: SidecarClient,
    package: Package,
    name: str,
    env: Mapping[str, str],
    on_sent: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Upload and start; return the container once it runs, CliError if it does not."""
    what = f"deploy {name}"
    files = {"image": (f"{package.image}.tar", _Counted(package.tar, on_sent))}
    await sidecar.call(what, "POST", "/mcm/v1/images", files=files)
    body = {"name": name, "image": package.image, "env": dict(env)}
    container = await sidecar.call(what, "POST", "/mcm/v1/containers", json=body)
    if not isinstance(container, dict) or "id" not in container:
        raise CliError(f"cannot {what}: the gateway did not say which container it made")
    return await _wait_started(sidecar, what, container)


def parse_env(pairs: list[str]) -> dict[str, str]:
    """Return the settings in KEY=VALUE texts."""
    env: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise OptionError(f"cannot use --env {pair}: must be KEY=VALUE")
        env[key] = value
    return env


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
        rows = rows_of(await sidecar.call(what, "GET", "/mcm/v1/containers"))
        container = next((row for row in rows if row.get("id") == container["id"]), container)
    return container


async def _container(sidecar: SidecarClient, name: str) -> dict[str, Any]:
    rows = rows_of(await sidecar.call(f"deploy {name}", "GET", "/mcm/v1/containers"))
    return next((row for row in rows if row.get("name") == name), {})


async def _path_of(sidecar: SidecarClient, container_id: str) -> str:
    status = await sidecar.call("read status", "GET", "/status/v1")
    for row in status.get("containers") or ():
        if row.get("id") == container_id:
            return str(row.get("path") or "")
    return ""


def _progress() -> Progress:
    out = notes()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        DownloadColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    )


class _Counted(io.BytesIO):
    """A file that reports how much of it was read."""

    def __init__(self, content: bytes, on_read: Callable[[int], None]) -> None:
        super().__init__(content)
        self._on_read = on_read

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self._on_read(self.tell())
        return piece
