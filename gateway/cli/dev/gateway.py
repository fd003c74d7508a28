"""Finds the gateway of a session, or starts one when a person wants that."""

import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import typer

from gateway.cli.client.contexts import DEFAULT_URL
from gateway.cli.client.sidecar import is_loopback
from gateway.cli.client.target import Target, find_state, find_target
from gateway.cli.errors import CliError
from gateway.cli.output import notes
from gateway.cli.up.child import Child
from gateway.cli.up.ready import parse_gateway_ready

CONNECT_S = 2.0
START_S = 30.0
LOG = "gateway.log"  # in the state folder


@contextlib.asynccontextmanager
async def find_or_start(url: str | None, state: Path | None, *, ask: bool) -> AsyncIterator[Target]:
    """Yield the gateway; without one offer, in a terminal, to run one meanwhile.

    Raises:
        CliError: there is none, or no key for it; the text says what to type.
    """
    target, why = _find(url, state)
    if target is not None and (not is_loopback(target.url) or _answers(target.url)):
        yield target
        return
    if target is None and _answers(url or DEFAULT_URL):
        raise CliError(why)  # it runs, and only its key is missing
    if target is not None:
        why = f"cannot run this: no gateway answers at {target.url}"
    if not ask or url is not None or not sys.stdin.isatty() or not _wants_one(why):
        raise CliError(
            f"{why}\n\nStart one in another terminal:\n"
            "  hecate up         with a cloud and simulated devices\n"
            "  hecate gateway    alone"
        )
    folder = find_state(state, os.environ)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    child = Child("gateway", folder / LOG)
    environ = {**os.environ, "HECATE_GATEWAY_NODE_STATE": str(folder)}
    try:
        ready = await child.start(
            ["-m", "gateway.cli.serve"], environ, parse_gateway_ready, START_S
        )
        text = f"gateway at {ready.api}, until Ctrl-C; its log is {folder / LOG}"
        notes().print(text, style="dim", soft_wrap=True)
        yield find_target(ready.api, folder, os.environ)
    finally:
        await child.stop()


def _find(url: str | None, state: Path | None) -> tuple[Target | None, str]:
    try:
        return find_target(url, state, os.environ), ""
    except CliError as exc:
        return None, str(exc)


def _wants_one(why: str) -> bool:
    notes().print(why.removeprefix("cannot run this: "), soft_wrap=True)
    return typer.confirm("Run one here, until you press Ctrl-C?", default=True, err=True)


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), CONNECT_S):
            return True
    except OSError:
        return False
