"""Lists the BEPs of a gateway, and ends them."""

import time
from typing import Any

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json, print_table
from gateway.cli.view.words import duration, size

COLUMNS = ("BEP", "MICROSERVICE", "STATE", "VISITORS", "BYTES", "EXPIRES")
ID_CHARACTERS = 4  # the fewest that name a BEP


async def list_beps(target: Target, *, as_json: bool) -> None:
    """Show the BEPs of a gateway."""
    async with SidecarClient(target) as sidecar:
        answer = await _ask(sidecar)
    if as_json:
        print_json(answer)
        return
    now = time.time()
    print_table(
        COLUMNS,
        [bep_row(row, now) for row in answer["data"]],
        "no BEPs; `hecate code` makes a code that opens one",
    )
    if answer["problem"]:
        why = f"only what this gateway serves is shown: {answer['problem']}"
        notes().print(why, style="dim", soft_wrap=True)


async def end_beps(target: Target, bep_id: str | None, *, as_json: bool) -> None:
    """End one BEP, or all."""
    async with SidecarClient(target) as sidecar:
        known = [str(row["id"]) for row in (await _ask(sidecar))["data"]]
        ended = known if bep_id is None else [choose(bep_id, known)]
        for each in ended:
            await sidecar.call("end BEP", "DELETE", f"/beps/v1/beps/{each}")
    if as_json:
        print_json({"ended": ended})
    for each in ended if not as_json else ():
        console().print(f"ended {each}", soft_wrap=True)
    if not ended and not as_json:
        notes().print("there are no BEPs", style="dim")


def choose(start: str, known: list[str]) -> str:
    """Return the one BEP whose id begins so; CliError when it is none, or not only one."""
    found = [bep_id for bep_id in known if bep_id.startswith(start)]
    if len(start) < ID_CHARACTERS or not found:
        raise CliError(f"cannot end BEP {start!r}: there is none with this id, see `hecate beps`")
    if len(found) > 1:
        raise CliError(f"cannot end BEP {start!r}: {len(found)} ids begin so; give more characters")
    return found[0]


def bep_row(bep: dict[str, Any], now: float) -> tuple[str, ...]:
    """Return a row for a BEP at a unix time."""
    left_s = float(bep.get("expires_at") or 0) - now
    return (
        str(bep.get("id", "")),
        str(bep.get("label", "")),
        str(bep.get("state", "")),
        f"{bep.get('visitors', 0)} now, {bep.get('visitors_total', 0)} in all",
        size(float(bep.get("bytes_total") or 0)),
        f"in {duration(left_s)}" if left_s > 0 else "now",
    )


async def _ask(sidecar: SidecarClient) -> dict[str, Any]:
    answer = await sidecar.call("list BEPs", "GET", "/beps/v1/beps")
    problem = str(answer.get("problem") or "") if isinstance(answer, dict) else ""
    return {"data": rows_of(answer), "problem": problem}
