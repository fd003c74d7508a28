"""Lists, removes and fetches the images of a gateway."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient, decode_answer
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError, OptionError
from gateway.cli.output import console, notes, print_json, print_table, transfer_progress
from gateway.cli.services.containers import CONTAINERS, IMAGES
from gateway.cli.view.words import ago, number_of, plural, size

COLUMNS = ("IMAGE", "SIZE", "CREATED", "USED BY", "DIGEST")


async def list_images(target: Target, *, as_json: bool) -> None:
    """Show the images, and which containers use them."""
    async with SidecarClient(target) as sidecar:
        images = await _images(sidecar, "list images")
    if as_json:
        print_json({"data": images})
        return
    now = time.time()
    newest_first = sorted(images, key=lambda image: number_of(image, "created"), reverse=True)
    rows = [image_row(image, now) for image in newest_first]
    print_table(COLUMNS, rows, "no images yet; `hecate deploy DIR` sends one")


async def remove_images(target: Target, names: Sequence[str], *, as_json: bool) -> None:
    """Remove images by name; one that a container uses is refused."""
    async with SidecarClient(target) as sidecar:
        images = await _images(sidecar, "remove images")
        chosen = [_find(images, name) for name in names]
        await _remove(sidecar, chosen, as_json=as_json)


async def prune_images(target: Target, *, yes: bool, as_json: bool) -> None:
    """Remove the images that no container uses."""
    async with SidecarClient(target) as sidecar:
        images = await _images(sidecar, "prune images")
        unused = [image for image in images if not image["usedBy"]]
        total = size(sum(number_of(image, "size") for image in unused))
        if unused and not yes:
            _confirm(unused, total)
        await _remove(sidecar, unused, as_json=as_json)
    if not as_json:
        notes().print(f"{plural(len(unused), 'image')}, {total} of uploads", style="dim")


async def export_image(target: Target, name: str, file: Path | None, *, as_json: bool) -> None:
    """Fetch an image into a file, which `hecate deploy` takes for another gateway."""
    async with SidecarClient(target) as sidecar:
        image = _find(await _images(sidecar, "export an image"), name)
        path = file or Path(f"{image.get('name')}.tar")
        count = await _fetch(sidecar, image, path)
    if as_json:
        print_json({"image": image.get("name"), "file": str(path), "size": count})
    else:
        console().print(f"{path}  {size(count)}", soft_wrap=True)


async def _fetch(sidecar: SidecarClient, image: dict[str, Any], path: Path) -> int:
    what, scratch = f"export {image.get('name')}", path.with_name(f".{path.name}.part")
    url = f"{IMAGES}/{image['id']}/tarball"
    count = 0
    try:
        async with sidecar.stream(what, "GET", url) as response:
            if response.is_error:
                await response.aread()
                decode_answer(what, response)
            total = int(response.headers.get("content-length", 0)) or None
            with transfer_progress() as progress, scratch.open("wb") as out:
                task = progress.add_task(str(image.get("name")), total=total)
                async for piece in response.aiter_bytes():
                    count += out.write(piece)
                    progress.update(task, completed=count)
        scratch.replace(path)
    except OSError as exc:
        raise CliError(f"cannot write {path}: {(exc.strerror or str(exc)).lower()}") from exc
    finally:
        scratch.unlink(missing_ok=True)
    return count


def image_row(image: dict[str, Any], now: float) -> tuple[str, ...]:
    """Return a row for an image at a unix time."""
    return (
        str(image.get("name", "")),
        size(number_of(image, "size")),
        ago(now - number_of(image, "created")),
        ", ".join(image.get("usedBy") or ()),
        str(image.get("digest", ""))[:19],
    )


async def _images(sidecar: SidecarClient, what: str) -> list[dict[str, Any]]:
    images = rows_of(await sidecar.call(what, "GET", IMAGES))
    containers = rows_of(await sidecar.call(what, "GET", CONTAINERS))
    for image in images:
        image["usedBy"] = [c.get("name") for c in containers if c.get("imageId") == image.get("id")]
    return images


async def _remove(sidecar: SidecarClient, images: list[dict[str, Any]], *, as_json: bool) -> None:
    removed = []
    for image in images:
        what = f"remove image {image.get('name')}"
        removed.append(await sidecar.call(what, "DELETE", f"{IMAGES}/{image['id']}"))
        if not as_json:
            console().print(f"removed {image.get('name')}", soft_wrap=True)
    if as_json:
        print_json({"data": removed})


def _find(images: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for image in images:
        if name in (image.get("name"), image.get("id")):
            return image
    known = ", ".join(str(image.get("name")) for image in images) or "none"
    raise CliError(f"cannot find image {name}; there are: {known}")


def _confirm(images: list[dict[str, Any]], total: str) -> None:
    names = ", ".join(str(image.get("name")) for image in images)
    if not sys.stdin.isatty():
        raise OptionError(f"cannot ask whether to remove {names}: give --yes")
    if not typer.confirm(f"Remove {names} ({total})?", err=True):
        raise typer.Exit(1)
