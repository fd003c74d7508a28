"""Declares the commands about roll-outs: their names, options and help."""

from typing import Annotated

import typer

from gateway.cli.options import Given, Json, State, Url, examples, run, target_of

Id = Annotated[
    str, typer.Argument(metavar="ID", help="As `hecate rollouts` shows it, or its beginning.")
]

rollouts_app = typer.Typer(
    rich_markup_mode=None,
    help="""List deployments to several nodes, or watch one.

    `hecate deploy DIR --all`, or --node several times, begins one. The gateway that receives it
    coordinates it in waves, also after the command has ended. Nodes that cannot be reached get it
    when they are back.
    """,
    epilog=examples("hecate rollouts", "hecate rollouts show 5f2c --follow"),
)


@rollouts_app.callback(invoke_without_command=True)
def rollouts(
    context: typer.Context, url: Url = None, state: State = None, as_json: Json = False
) -> None:
    """List the roll-outs."""
    context.obj = Given(url, state, as_json)
    if context.invoked_subcommand is None:
        from gateway.cli.services.rollouts import list_rollouts

        run(list_rollouts(target_of(url, state), as_json=as_json))


@rollouts_app.command(
    "show", epilog=examples("hecate rollouts show 5f2c", "hecate rollouts show 5f2c --follow")
)
def rollouts_show(  # options
    context: typer.Context,
    rollout_id: Id,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show changes until it ends.")
    ] = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Show a roll-out, node by node."""
    from gateway.cli.services.rollouts import show_rollout

    before: Given = context.obj
    target, wants_json = before.target_of(url, state), as_json or before.as_json
    raise typer.Exit(run(show_rollout(target, rollout_id, follow=follow, as_json=wants_json)))


@rollouts_app.command("cancel", epilog=examples("hecate rollouts cancel 5f2c"))
def rollouts_cancel(
    context: typer.Context,
    rollout_id: Id,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Cancel a roll-out: no further node begins; those that have it keep it."""
    from gateway.cli.services.rollouts import change_rollout

    before: Given = context.obj
    target, wants_json = before.target_of(url, state), as_json or before.as_json
    run(change_rollout(target, rollout_id, "cancelled", as_json=wants_json))


@rollouts_app.command("resume", epilog=examples("hecate rollouts resume 5f2c"))
def rollouts_resume(
    context: typer.Context,
    rollout_id: Id,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Go on with a roll-out that has stopped; nodes that failed are tried again."""
    from gateway.cli.services.rollouts import change_rollout

    before: Given = context.obj
    target, wants_json = before.target_of(url, state), as_json or before.as_json
    run(change_rollout(target, rollout_id, "running", as_json=wants_json))
