"""Declares the commands about devices: their names, options and help."""

from typing import Annotated

import typer

from gateway.cli.options import Given, Json, State, Url, examples, run, target_of

CLAIM_TTL_LIMIT_S = 30 * 24 * 3600  # of the gateway

devices_app = typer.Typer(
    rich_markup_mode=None,
    help="List devices, let them join, or cut them off.",
    epilog=examples(
        "hecate devices", "hecate devices claim", "hecate devices revoke dev-0123456789ab"
    ),
)


@devices_app.callback(invoke_without_command=True)
def devices(
    context: typer.Context, url: Url = None, state: State = None, as_json: Json = False
) -> None:
    """List the devices."""
    context.obj = Given(url, state, as_json)
    if context.invoked_subcommand is None:
        from gateway.cli.client.queries import list_devices

        run(list_devices(target_of(url, state), as_json=as_json))


@devices_app.command(
    "claim",
    epilog=examples("hecate devices claim", "hecate devices claim --uses 20 --ttl 86400 --json"),
)
def devices_claim(
    context: typer.Context,
    uses: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="How many devices may use it.")
    ] = 1,
    ttl: Annotated[
        int,
        typer.Option(metavar="SECONDS", min=1, max=CLAIM_TTL_LIMIT_S, help="How long it is good."),
    ] = 3600,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Make a claim token.

    With it a device joins, and gets a password of its own.
    """
    from gateway.cli.client.queries import make_claim

    before: Given = context.obj
    target = before.target_of(url, state)
    run(make_claim(target, uses, ttl, as_json=as_json or before.as_json))


@devices_app.command("unclaim", epilog=examples("hecate devices unclaim"))
def devices_unclaim(
    context: typer.Context, url: Url = None, state: State = None, as_json: Json = False
) -> None:
    """End all claim tokens.

    None of them lets a device join any more. Devices that have joined stay.
    """
    from gateway.cli.client.queries import end_claims

    before: Given = context.obj
    target = before.target_of(url, state)
    run(end_claims(target, as_json=as_json or before.as_json))


@devices_app.command("revoke", epilog=examples("hecate devices revoke dev-0123456789ab"))
def devices_revoke(
    context: typer.Context,
    device_id: Annotated[str, typer.Argument(help="As `hecate devices` shows it.")],
    url: Url = None,
    state: State = None,
) -> None:
    """Take a device's rights away.

    Its connection is cut at once; to come back it needs a new claim token.
    """
    from gateway.cli.client.queries import revoke_device

    before: Given = context.obj
    run(revoke_device(before.target_of(url, state), device_id))
