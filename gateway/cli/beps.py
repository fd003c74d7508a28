"""The commands about BEPs: their names, options, help, and what they do."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.errors import CliError, OptionError
from gateway.cli.options import Given, Json, State, Url, examples, run, target_of

if TYPE_CHECKING:
    from gateway.cli.sidecar import Sidecar, Target

COLUMNS = ("BEP", "MICROSERVICE", "STATE", "VISITORS", "BYTES", "EXPIRES")
ID_CHARACTERS = 4  # the fewest that name a BEP

beps_app = typer.Typer(
    rich_markup_mode=None,
    help="List the tunnels (BEPs) to a gateway, or end them.",
    epilog=examples(
        "hecate beps", "hecate beps --json | jq -r '.data[].url'", "hecate beps end --all"
    ),
)


@beps_app.callback(invoke_without_command=True)
def beps(
    context: typer.Context, url: Url = None, state: State = None, as_json: Json = False
) -> None:
    """List the BEPs that count for a gateway, those that only the cloud knows included."""
    context.obj = Given(url, state, as_json)
    if context.invoked_subcommand is None:
        run(list_beps(target_of(url, state), as_json=as_json))


@beps_app.command(
    "end",
    epilog=examples("hecate beps end Zk3v", "hecate beps end --all"),
)
def beps_end(
    context: typer.Context,
    bep_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="As `hecate beps` shows it, or its first characters."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="End all of them.")] = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """End a BEP.

    Its visitors are cut at once, and its URL is good no more. A BEP ends by itself when it
    expires, when nobody has used it for 15 minutes, and when its gateway stops.
    """
    if every == (bep_id is not None):
        raise OptionError("cannot end BEPs: give the ID of one, or --all")
    before: Given = context.obj
    target = target_of(url or before.url, state or before.state)
    run(end_beps(target, bep_id, as_json=as_json or before.as_json))


async def list_beps(target: "Target", *, as_json: bool) -> None:
    """Show the BEPs of a gateway."""
    from gateway.cli.output import notes, print_json, print_table
    from gateway.cli.sidecar import Sidecar

    async with Sidecar(target) as sidecar:
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


async def end_beps(target: "Target", bep_id: str | None, *, as_json: bool) -> None:
    """End one BEP, or all."""
    from gateway.cli.output import console, notes, print_json
    from gateway.cli.sidecar import Sidecar

    async with Sidecar(target) as sidecar:
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
    from gateway.cli.view.words import duration, size

    left_s = float(bep.get("expires_at") or 0) - now
    return (
        str(bep.get("id", "")),
        str(bep.get("label", "")),
        str(bep.get("state", "")),
        f"{bep.get('visitors', 0)} now, {bep.get('visitors_total', 0)} in all",
        size(float(bep.get("bytes_total") or 0)),
        f"in {duration(left_s)}" if left_s > 0 else "now",
    )


async def _ask(sidecar: "Sidecar") -> dict[str, Any]:
    from gateway.cli.records import rows_of

    answer = await sidecar.call("list BEPs", "GET", "/beps/v1/beps")
    problem = str(answer.get("problem") or "") if isinstance(answer, dict) else ""
    return {"data": rows_of(answer), "problem": problem}
