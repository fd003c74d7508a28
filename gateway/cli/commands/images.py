"""Declares the commands about images: their names, options and help."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import Given, Json, State, Url, examples, run, target_of

images_app = typer.Typer(
    rich_markup_mode=None,
    help="""List the images of a gateway, or remove some.

    An image holds the code of a microservice. The newest three that no container uses are kept for
    a rollback; older ones are removed when a new one arrives.
    """,
    epilog=examples("hecate images", "hecate images rm hello-v1", "hecate images prune --yes"),
)


@images_app.callback(invoke_without_command=True)
def images(
    context: typer.Context, url: Url = None, state: State = None, as_json: Json = False
) -> None:
    """List the images."""
    context.obj = Given(url, state, as_json)
    if context.invoked_subcommand is None:
        from gateway.cli.services.images import list_images

        run(list_images(target_of(url, state), as_json=as_json))


@images_app.command("ls", epilog=examples("hecate images ls", "hecate images ls --json"))
def images_ls(
    context: typer.Context, url: Url = None, state: State = None, as_json: Json = False
) -> None:
    """List the images, the newest first."""
    from gateway.cli.services.images import list_images

    before: Given = context.obj
    run(list_images(before.target_of(url, state), as_json=as_json or before.as_json))


@images_app.command("rm", epilog=examples("hecate images rm hello-v1 hello-v2"))
def images_rm(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="As `hecate images` shows them.")
    ],
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Remove images. One that a microservice uses is refused."""
    from gateway.cli.services.images import remove_images

    before: Given = context.obj
    target = before.target_of(url, state)
    run(remove_images(target, names, as_json=as_json or before.as_json))


@images_app.command("prune", epilog=examples("hecate images prune", "hecate images prune --yes"))
def images_prune(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Remove the images that no microservice uses."""
    from gateway.cli.services.images import prune_images

    before: Given = context.obj
    target = before.target_of(url, state)
    run(prune_images(target, yes=yes, as_json=as_json or before.as_json))


@images_app.command(
    "export",
    epilog=examples("hecate images export hello-v1", "hecate images export hello-v1 -o hello.tar"),
)
def images_export(  # options
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="IMAGE", help="As `hecate images` shows it.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="[default: IMAGE.tar here]"),
    ] = None,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Fetch an image into a file. `hecate deploy FILE` sends it to another gateway."""
    from gateway.cli.services.images import export_image

    before: Given = context.obj
    target = before.target_of(url, state)
    run(export_image(target, name, output, as_json=as_json or before.as_json))
