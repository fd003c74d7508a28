"""Calls a microservice over HTTP, and copies its answer piece by piece."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError, OptionError
from gateway.cli.output import print_json
from gateway.cli.services.containers import BASE_KEY, find_container

CALL_S = 40.0  # the gateway gives a microservice 35 s for the head of its answer


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a microservice."""

    method: str
    path: str  # below the microservice's base
    body: bytes
    headers: Mapping[str, str]


async def invoke(target: Target, name: str, call: Call, *, as_json: bool) -> int:
    """Call a microservice and print its answer; return 0 for a status below 400, else 1."""
    async with SidecarClient(target, CALL_S) as sidecar:
        container = await find_container(sidecar, name)
        base = str((container.get("env") or {}).get(BASE_KEY) or "")
        if not base:
            raise CliError(f"cannot invoke {name}: it has no HTTP routes ([http] base is not set)")
        url = base + (call.path if call.path.startswith(("/", "?")) else f"/{call.path}")
        async with sidecar.stream(
            f"invoke {name}", call.method, url, content=call.body, headers=dict(call.headers)
        ) as response:
            if as_json:
                await response.aread()
                print_json(_answer(response))
            elif response.is_error and "problem+json" in response.headers.get("content-type", ""):
                await response.aread()
                raise CliError(
                    f"cannot invoke {name}: HTTP {response.status_code}: {_why(response)}"
                )
            else:
                await _copy(response, sys.stdout.buffer)
    return 1 if response.is_error else 0


def read_body(data: str | None) -> bytes:
    """Return the body that --data gives: a text, or @FILE, or @- for standard input."""
    if data is None:
        return b""
    if not data.startswith("@"):
        return data.encode()
    if data == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as exc:
        raise OptionError(f"cannot read {data[1:]}: {(exc.strerror or str(exc)).lower()}") from exc


def parse_headers(pairs: list[str]) -> dict[str, str]:
    """Return the headers in NAME:VALUE texts."""
    headers: dict[str, str] = {}
    for pair in pairs:
        name, colon, value = pair.partition(":")
        if not colon or not name.strip():
            raise OptionError(f"cannot use --header {pair}: must be NAME:VALUE")
        headers[name.strip()] = value.strip()
    return headers


async def _copy(response: httpx.Response, out: IO[bytes]) -> None:
    ends_line = True
    async for piece in response.aiter_bytes():
        out.write(piece)
        ends_line = piece.endswith(b"\n")
    if not ends_line and sys.stdout.isatty():
        out.write(b"\n")
    out.flush()


def _answer(response: httpx.Response) -> dict[str, Any]:
    try:
        body: Any = response.json()
    except ValueError:
        body = response.text
    return {"status": response.status_code, "headers": dict(response.headers), "body": body}


def _why(response: httpx.Response) -> str:
    try:
        problem = response.json()
    except ValueError:
        return f"HTTP {response.status_code}"
    detail = problem.get("detail") if isinstance(problem, dict) else None
    return str(detail or f"HTTP {response.status_code}")
