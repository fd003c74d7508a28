"""Declares the commands about a gateway's account: their names, options and help."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import Given, Json, State, Url, examples, run, target_of

account_app = typer.Typer(
    rich_markup_mode=None,
    help="Show the account of a gateway, join one, or leave it.",
    epilog=examples("hecate account", "hecate account join", "hecate account leave"),
)


@account_app.callback(invoke_without_command=True)
def account(
    context: typer.Context, url: Url = None, state: State = None, as_json: Json = False
) -> None:
    """Show which account the gateway belongs to."""
    context.obj = Given(url, state, as_json)
    if context.invoked_subcommand is None:
        from gateway.cli.client.membership import show_account

        run(show_account(target_of(url, state), as_json=as_json))


@account_app.command(
    "join", epilog=examples("hecate account join", "hecate account join --no-wait --json")
)
def account_join(
    context: typer.Context,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait", help="Print the code and end; `hecate account` shows the result."
        ),
    ] = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Join an account by a code.

    Shows a code and where to type it. A person who types it, signed in to the cloud, makes the
    gateway a member of their account. Waits for that until the code expires.
    """
    from gateway.cli.client.membership import join_account

    before: Given = context.obj
    target = before.target_of(url, state)
    run(join_account(target, wait=not no_wait, as_json=as_json or before.as_json))


@account_app.command("approve", epilog=examples("hecate account approve WDJB-MJHT"))
def account_approve(  # noqa: PLR0913  # options
    context: typer.Context,
    code: Annotated[str, typer.Argument(metavar="CODE", help="As the other gateway shows it.")],
    cloud: Annotated[
        str | None, typer.Option(help="The cloud's API. [default: that of the gateway]")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with an access token that has edge:account:associate. "
            "[default: signs in as the development user of `hecate up`]",
        ),
    ] = None,
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it instead.")] = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Let a gateway that shows a code join your account.

    The page that `hecate account join` names does the same in a browser.
    """
    from gateway.cli.client.membership import approve_code, find_cloud, read_identity

    before: Given = context.obj
    url, state = url or before.url, state or before.state
    where = cloud or run(find_cloud(target_of(url, state)))
    credentials = read_identity(token_file, state)
    run(approve_code(where, credentials, code, allow=not refuse, as_json=as_json or before.as_json))


@account_app.command("leave", epilog=examples("hecate account leave --yes"))
def account_leave(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Leave the account.

    Members of the account can no longer reach the gateway's microservices, and its BEPs end.
    Devices and microservices go on.
    """
    from gateway.cli.client.membership import confirm_leave, leave_account

    before: Given = context.obj
    target = before.target_of(url, state)
    confirm_leave(yes=yes)
    run(leave_account(target, as_json=as_json or before.as_json))
