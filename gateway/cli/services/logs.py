"""Prints the log of a microservice: what there is, then, if wanted, each new line."""

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from gateway.cli.client.sidecar import SidecarClient, decode_answer
from gateway.cli.client.target import Target
from gateway.cli.errors import OptionError
from gateway.cli.output import console, notes
from gateway.cli.services.containers import CONTAINERS, find_container
from gateway.cli.services.log_lines import LogLine, LogParser, is_at_least, parse_since, render

TAIL = 200
TAIL_MAX = 10_000  # of the gateway


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The choices of lines."""

    tail: int | None = None
    since: str = ""
    level: str = "debug"
    follow: bool = False
    as_json: bool = False


async def show_logs(target: Target, name: str, options: LogOptions) -> None:
    """Print the last lines of a container's log; then, if wanted, each new line."""
    earliest = _earliest(options.since)
    # the lines left out here may be most of the log
    chooses = bool(earliest) or options.level != "debug"
    tail = options.tail if options.tail is not None else TAIL_MAX if chooses else TAIL
    follow = options.follow
    what = f"read the log of {name}"
    printed, parser = False, LogParser()
    async with SidecarClient(target) as sidecar:
        container_id = (await find_container(sidecar, name))["id"]
        async with sidecar.stream(
            what, "GET", f"{CONTAINERS}/{container_id}/logs",
            params={"tail": tail, "follow": str(follow).lower()},
            timeout=httpx.Timeout(30, read=None) if follow else None,
        ) as response:  # fmt: skip
            if response.is_error:
                await response.aread()
                decode_answer(what, response)
            async for text in _lines(response):
                line = parser.parse(text)
                if line.at >= earliest and is_at_least(line, options.level):
                    printed = True
                    _print(line, as_json=options.as_json)
    if not printed:
        what = "nothing like that" if chooses else "nothing"
        notes().print(f"{name} has printed {what}", style="dim")


def _earliest(since: str) -> str:
    if not since:
        return ""
    try:
        return parse_since(since, datetime.now(UTC))
    except ValueError as exc:
        raise OptionError(
            f"cannot use --since {since}: must be like 30s, 10m, 2h or 2026-01-31T12:00"
        ) from exc


def _print(line: LogLine, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(line.as_object(), ensure_ascii=False) + "\n")
        sys.stdout.flush()
        return
    out = console()
    out.print(render(line, _local_time(line.at) if out.is_terminal else line.at), soft_wrap=True)
    sys.stdout.flush()


def _local_time(at: str) -> str:
    """Return the time of a line as a clock on this wall shows it."""
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return at


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Yield whole lines, ended by a line feed only."""
    rest = b""
    async for piece in response.aiter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
