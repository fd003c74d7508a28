"""Writes a minimal microservice, and finds what a folder lacks to be one."""

import re
from pathlib import Path

from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json
from gateway.services.images.image import ENTRIES
from gateway.services.images.manifest import FILE_NAME

CODE_NAME = "service.py"

_MANIFEST = """name = "{name}"            # of the image and the container: a-z 0-9 -
version = "1"

[http]
base = "/{name}/v1"        # where it answers, behind the client id: /api/{name}/v1
expose = "node"           # who may call: "node" (this machine) or "public" (network and cloud)

[mqtt]                    # what is not here is denied
subscribe = ["devices/+/readings/#"]
publish = ["{name}/#"]
"""
_CODE = '''"""The microservice {name}: passes readings on, and answers HTTP."""

from microservice import Message, Request, Service

service = Service()
seen: dict[str, int] = {{}}  # readings of each device, as long as this process lives


@service.on("devices/{{device}}/readings/#")
async def reading(message: Message) -> None:
    """Count a device's readings, and say how many there were."""
    device = message["device"]
    seen[device] = seen.get(device, 0) + 1
    await service.publish(f"{name}/{{device}}/count", {{"count": seen[device]}})


@service.get("/")
async def root(_: Request) -> dict[str, object]:
    """Answer what was counted."""
    return {{"service": "{name}", "seen": seen}}
'''


def init_folder(directory: Path, *, as_json: bool) -> None:
    """Write a microservice that runs into a folder; files that are there stay as they are."""
    name = name_of(directory)
    wanted = {FILE_NAME: manifest_text(name), CODE_NAME: _CODE.format(name=name)}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        missing = {n: text for n, text in wanted.items() if not (directory / n).exists()}
        if not missing:
            raise CliError(f"cannot write into {directory}: {' and '.join(wanted)} are there")
        for file, text in missing.items():
            (directory / file).write_text(text, encoding="utf-8")
    except OSError as exc:
        why = (exc.strerror or str(exc)).lower()
        raise CliError(f"cannot write into {directory}: {why}") from exc
    if as_json:
        print_json({"name": name, "written": [str(directory / file) for file in missing]})
        return
    for file in missing:
        console().print(str(directory / file), soft_wrap=True)
    notes().print(f"run it with: hecate deploy {directory}", style="dim")


def explain_missing(directory: Path) -> str:
    """Return what a folder lacks to be a microservice, with what to do; "" when nothing."""
    if not (directory / FILE_NAME).exists():
        return (
            f"no {FILE_NAME} in it. This file names the microservice, and defines where it answers "
            f"and which topics it may use. A minimal one:\n\n{minimal_text(name_of(directory))}\n"
            f"`hecate init {directory}` writes one"
        )
    if not any((directory / entry).is_file() for entry in ENTRIES):
        return (
            f"no {CODE_NAME} in it. This file holds the code: a Service and its handlers. "
            f"`hecate init {directory}` writes one"
        )
    return ""


def manifest_text(name: str) -> str:
    """Return a microservice.toml with comments."""
    return _MANIFEST.format(name=name)


def minimal_text(name: str) -> str:
    """Return the shortest microservice.toml of a service that answers HTTP."""
    return f'name = "{name}"\n\n[http]\nbase = "/{name}/v1"\n'


def name_of(directory: Path) -> str:
    """Return a microservice's name that a folder's name suggests."""
    name = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower())[:40].strip("-")
    return name or "service"
