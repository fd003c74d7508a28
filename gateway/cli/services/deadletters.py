"""Lists, shows, retries and discards the messages that a microservice could not handle."""

import base64
import binascii
import sys
import time
from typing import Any

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json, print_table
from gateway.cli.services.containers import CONTAINERS, find_container
from gateway.cli.view.words import ago, plural, printable, size

COLUMNS = ("ID", "AGE", "TOPIC", "SIZE", "TRIES", "ERROR")


async def list_letters(target: Target, name: str, *, as_json: bool) -> None:
    """Show the dead letters of a microservice, the newest first."""
    async with SidecarClient(target) as sidecar:
        answer = await _fetch(sidecar, await _path(sidecar, name), name)
    if as_json:
        print_json(answer)
        return
    now = time.time()
    rows = [letter_row(row, now) for row in reversed(rows_of(answer))]
    print_table(COLUMNS, rows, f"{name} has no dead letters")
    if answer.get("dropped"):
        why = "older ones made room and are lost"
        notes().print(f"{answer['dropped']} {why}", style="dim", soft_wrap=True)
    elif rows and notes().is_terminal:
        hint = f"next: hecate deadletters show {name} {rows[0][0]}"
        notes().print(f"{hint}   hecate deadletters retry {name} --all", style="dim")


async def show_letter(target: Target, name: str, number: str, *, as_json: bool) -> None:
    """Show one dead letter; its payload goes as it is into a pipe, and as text to a terminal."""
    async with SidecarClient(target) as sidecar:
        answer = await _fetch(sidecar, await _path(sidecar, name), name)
    letter = _find(answer, name, number)
    if as_json:
        print_json(letter)
        return
    out = notes()
    rows = [("topic", letter.get("topic")), ("error", letter.get("error"))]
    rows += [("tries", letter.get("tries")), ("qos", letter.get("qos"))]
    rows += [("retained", "yes" if letter.get("retain") else "")]
    rows += [("property", f"{key}: {value}") for key, value in letter.get("userProperties") or ()]
    for label, value in rows:
        if value not in ("", None):
            out.print(printable(f"{label:9}{value}"), style="dim", soft_wrap=True)
    for line in str(letter.get("trace") or "").splitlines():
        out.print(printable(line), style="dim", soft_wrap=True)
    payload = payload_of(letter)
    if sys.stdout.isatty():  # anybody may have published it
        lines = payload.decode(errors="replace").splitlines()
        payload = "".join(f"{printable(line)}\n" for line in lines).encode()
    sys.stdout.buffer.write(payload)
    sys.stdout.flush()


async def retry_letters(
    target: Target, name: str, numbers: list[str], *, every: bool, as_json: bool
) -> None:
    """Give dead letters to the microservice again: those of some numbers, or all."""
    async with SidecarClient(target) as sidecar:
        path = await _path(sidecar, name)
        if every:
            numbers = [str(row["id"]) for row in rows_of(await _fetch(sidecar, path, name))]
        retried = []
        for number in numbers:
            what = f"retry dead letter {number} of {name}"
            retried.append(await sidecar.call(what, "POST", f"{path}/{number}/retry"))
            if not as_json:
                console().print(f"retried {number}", soft_wrap=True)
    if as_json:
        print_json({"data": retried})
    elif not numbers:
        notes().print(f"{name} has no dead letters", style="dim")


async def discard_letters(
    target: Target, name: str, numbers: list[str], *, every: bool, as_json: bool
) -> None:
    """Remove dead letters: those of some numbers, or all."""
    async with SidecarClient(target) as sidecar:
        path = await _path(sidecar, name)
        if every:
            answer = await sidecar.call(f"discard dead letters of {name}", "DELETE", path)
            count = int(answer.get("discarded", 0)) if isinstance(answer, dict) else 0
        else:
            for number in numbers:
                what = f"discard dead letter {number} of {name}"
                await sidecar.call(what, "DELETE", f"{path}/{number}")
            count = len(numbers)
    if as_json:
        print_json({"discarded": count})
    else:
        console().print(f"discarded {plural(count, 'dead letter')}", soft_wrap=True)


def letter_row(letter: dict[str, Any], now: float) -> tuple[str, ...]:
    """Return a row for a dead letter at a unix time."""
    at = letter.get("at")
    return (
        str(letter.get("id", "")),
        ago(now - at / 1000) if isinstance(at, int | float) else "",
        str(letter.get("topic", "")),
        size(letter["size"]) if isinstance(letter.get("size"), int) else "",
        str(letter.get("tries", "")),
        str(letter.get("error") or "").partition("\n")[0],
    )


def payload_of(letter: dict[str, Any]) -> bytes:
    """Return the payload of a dead letter; CliError when the gateway sends none."""
    try:
        return base64.b64decode(str(letter.get("payload") or ""), validate=True)
    except binascii.Error as exc:
        raise CliError(
            f"cannot show dead letter {letter.get('id')}: its payload is garbled"
        ) from exc


async def _path(sidecar: SidecarClient, name: str) -> str:
    return f"{CONTAINERS}/{(await find_container(sidecar, name))['id']}/deadletters"


async def _fetch(sidecar: SidecarClient, path: str, name: str) -> dict[str, Any]:
    answer = await sidecar.call(f"list the dead letters of {name}", "GET", path)
    return answer if isinstance(answer, dict) else {}


def _find(answer: dict[str, Any], name: str, number: str) -> dict[str, Any]:
    for letter in rows_of(answer):
        if str(letter.get("id")) == number:
            return letter
    raise CliError(
        f"cannot find dead letter {number} of {name}; `hecate deadletters list {name}` shows them"
    )
