"""Declares the commands about devices: their names, options and help."""

from typing import Annotated

import typer

from gateway.cli.commands.sensors import KeyFile
from gateway.cli.options import Given, Json, State, Url, examples, run, target_of

CLAIM_TTL_LIMIT_S = 30 * 24 * 3600  # of the gateway

devices_app = typer.Typer(
    rich_markup_mode=None,
    help="List devices, admit them, manage them, or cut them off.",
    epilog=examples(
        "hecate devices",
        "hecate devices approve 481-204",
        "hecate devices show kitchen",
        "hecate devices revoke dev-0123456789ab",
    ),
)

Device = Annotated[str, typer.Argument(help="The device's id, or its name.", show_default=False)]
Code = Annotated[
    str,
    typer.Argument(
        help="The code that the board shows, the board's id, or a sensor's address.",
        metavar="CODE",
        show_default=False,
    ),
]


@devices_app.callback(invoke_without_command=True)
def devices(
    context: typer.Context,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on, and print a line for each change.")
    ] = False,
) -> None:
    """List the devices, and the boards that wait for approval."""
    context.obj = Given(url, state, as_json)
    if context.invoked_subcommand is None:
        from gateway.cli.devices.registry import list_devices

        run(list_devices(target_of(url, state), as_json=as_json, watch=watch))


@devices_app.command(
    "claim",
    epilog=examples(
        "hecate devices claim",
        "hecate devices claim --uses 20 --ttl 86400 --json",
        "hecate devices claim --board e6614c311b4c5a2a",
    ),
)
def devices_claim(  # noqa: PLR0913  # each is an option
    context: typer.Context,
    uses: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=1000, help="The number of devices that may use it."),
    ] = 1,
    ttl: Annotated[
        int,
        typer.Option(metavar="SECONDS", min=1, max=CLAIM_TTL_LIMIT_S, help="Its lifetime."),
    ] = 3600,
    board: Annotated[
        str, typer.Option(metavar="ID", help="The id of the only board that may use it.")
    ] = "",
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Make a claim token.

    A device joins with it, and gets a password of its own.
    """
    from gateway.cli.devices.approval import make_claim

    before: Given = context.obj
    target = before.target_of(url, state)
    run(make_claim(target, uses, ttl, board, as_json=as_json or before.as_json))


@devices_app.command("unclaim", epilog=examples("hecate devices unclaim"))
def devices_unclaim(
    context: typer.Context, url: Url = None, state: State = None, as_json: Json = False
) -> None:
    """End all claim tokens.

    None of them lets a device join any more. Devices that have joined stay.
    """
    from gateway.cli.devices.approval import end_claims

    before: Given = context.obj
    target = before.target_of(url, state)
    run(end_claims(target, as_json=as_json or before.as_json))


@devices_app.command(
    "approve",
    epilog=examples(
        "hecate devices approve 481-204",
        'hecate devices approve 481-204 --name "cellar door"',
        "hecate devices approve A4:C1:38:0B:1C:2D --name attic --key-file attic.key",
    ),
)
def devices_approve(  # noqa: PLR0913  # each is an option
    context: typer.Context,
    code: Code,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Its name. [default: the board's own]")
    ] = "",
    new: Annotated[
        bool, typer.Option("--new", help="A new device, though its board was one before.")
    ] = False,
    key_file: KeyFile = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is online.")] = True,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Admit a board that waits for approval, or accept a sensor.

    Approve a board only if it shows the same code. A board that was a device before, and lost its
    credentials, becomes this device again. `hecate devices sensors` lists the sensors.
    """
    from gateway.cli.devices.approval import approve_board
    from gateway.cli.devices.sensors import approve_sensor, is_address

    before: Given = context.obj
    target, as_json = before.target_of(url, state), as_json or before.as_json
    if is_address(code):
        run(approve_sensor(target, code, name, key_file, as_json=as_json))
        return
    run(approve_board(target, code, name, as_new=new, as_json=as_json, wait=wait))


@devices_app.command("deny", epilog=examples("hecate devices deny 481-204"))
def devices_deny(context: typer.Context, code: Code, url: Url = None, state: State = None) -> None:
    """Refuse, for a week, a board that waits for approval."""
    from gateway.cli.devices.approval import deny_board

    before: Given = context.obj
    run(deny_board(before.target_of(url, state), code))


@devices_app.command(
    "show", epilog=examples("hecate devices show kitchen", "hecate devices show kitchen --json")
)
def devices_show(
    context: typer.Context,
    device: Device,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Show a device: its state, credentials, groups and attributes."""
    from gateway.cli.devices.registry import show_device

    before: Given = context.obj
    run(show_device(before.target_of(url, state), device, as_json=as_json or before.as_json))


@devices_app.command("links", epilog=examples("hecate devices links"))
def devices_links(
    context: typer.Context, url: Url = None, state: State = None, as_json: Json = False
) -> None:
    """List the links to devices without IP: serial lines and Bluetooth LE."""
    from gateway.cli.devices.links import list_links

    before: Given = context.obj
    run(list_links(before.target_of(url, state), as_json=as_json or before.as_json))


@devices_app.command(
    "radio",
    epilog=examples(
        "hecate devices radio",
        "hecate devices radio --json",
        "hecate devices radio --forget C0:11:22:33:44:55",
    ),
)
def devices_radio(
    context: typer.Context,
    forget: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Remove the bond with a device that was reset.")
    ] = "",
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Show the Bluetooth radio: its adapter, its links, and the devices that wait for one.

    A waiting device has the name of the last one that proved its key at this address, with a
    question mark, because an address proves nothing.
    """
    from gateway.cli.devices.radio import forget_bond, show_radio

    before: Given = context.obj
    target, as_json = before.target_of(url, state), as_json or before.as_json
    run(forget_bond(target, forget) if forget else show_radio(target, as_json=as_json))


@devices_app.command("rename", epilog=examples('hecate devices rename kitchen "old kitchen"'))
def devices_rename(
    context: typer.Context,
    device: Device,
    name: Annotated[str, typer.Argument(help="The new name.", show_default=False)],
    url: Url = None,
    state: State = None,
) -> None:
    """Change the name of a device; its id and topics stay."""
    from gateway.cli.devices.registry import rename_device

    before: Given = context.obj
    run(rename_device(before.target_of(url, state), device, name))


@devices_app.command(
    "group",
    epilog=examples(
        "hecate devices group kitchen lights upstairs",
        "hecate devices group kitchen --leave upstairs",
    ),
)
def devices_group(
    context: typer.Context,
    device: Device,
    groups: Annotated[
        list[str] | None, typer.Argument(metavar="GROUP...", help="To join.", show_default=False)
    ] = None,
    leave: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="To leave; may be repeated.")
    ] = None,
    url: Url = None,
    state: State = None,
) -> None:
    """Put a device into groups, or take it out.

    The rights of the groups, from [devices] subscribe of the gateway, change at once.
    """
    from gateway.cli.devices.registry import group_device

    before: Given = context.obj
    run(group_device(before.target_of(url, state), device, groups or [], leave or []))


@devices_app.command("rotate", epilog=examples("hecate devices rotate kitchen"))
def devices_rotate(
    context: typer.Context, device: Device, url: Url = None, state: State = None
) -> None:
    """Give a device a new token, over its own connection.

    The old token is void as soon as the device has used the new one.
    """
    from gateway.cli.devices.registry import rotate_token

    before: Given = context.obj
    run(rotate_token(before.target_of(url, state), device))


@devices_app.command("revoke", epilog=examples("hecate devices revoke dev-0123456789ab"))
def devices_revoke(
    context: typer.Context, device: Device, url: Url = None, state: State = None
) -> None:
    """Take a device's rights away.

    Its connection is cut at once; to come back it needs a new claim token, or approval.
    """
    from gateway.cli.devices.registry import revoke_device

    before: Given = context.obj
    run(revoke_device(before.target_of(url, state), device))


@devices_app.command("forget", epilog=examples("hecate devices forget dev-0123456789ab"))
def devices_forget(
    context: typer.Context, device: Device, url: Url = None, state: State = None
) -> None:
    """Revoke a device, and remove it from the list."""
    from gateway.cli.devices.registry import forget_device

    before: Given = context.obj
    run(forget_device(before.target_of(url, state), device))
