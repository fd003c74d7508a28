"""Declares the commands that query a gateway and deploy to it: names, options and help."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import Json, State, Url, examples, run, target_of


class Scope(StrEnum):
    """The scope of a cluster."""

    linkLocal = "linkLocal"  # noqa: N815  # the API's word
    account = "account"


def register(app: typer.Typer) -> None:
    """Add these commands to the root command."""
    app.command(epilog=examples("hecate status", "hecate status --json | jq .sep.state"))(status)
    app.command(epilog=examples("hecate nodes", "hecate nodes --cluster account --json"))(nodes)
    app.command(epilog=examples("CODE=$(hecate code)", "hecate code NODE --ttl 60"))(code)
    app.command(
        epilog=examples(
            "hecate deploy examples/climate",
            "hecate deploy mine --env CITY=Delft --env UNIT=celsius",
        )
    )(deploy)


def status(url: Url = None, state: State = None, as_json: Json = False) -> None:
    """Show the status of a gateway.

    Devices with their last readings, microservices, the link to the cloud, messages. Exit code 0
    when it is ready, 1 when it is not or cannot be reached.
    """
    from gateway.cli.client.queries import show_status

    raise typer.Exit(run(show_status(target_of(url, state), as_json=as_json)))


def nodes(
    cluster: Annotated[
        Scope, typer.Option(help="linkLocal: on this network; account: of the same owner.")
    ] = Scope.linkLocal,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """List the nodes of a cluster."""
    from gateway.cli.client.queries import list_nodes

    run(list_nodes(target_of(url, state), cluster.value, as_json=as_json))


def code(
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="Its node id. [default: this node]")
    ] = None,
    ttl: Annotated[int, typer.Option(metavar="SECONDS", min=1, help="How long it is good.")] = 600,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Make a code for a tunnel (BEP) to a node.

    A node of the same account opens a BEP for a caller with such a code: GET
    <SEP URL of the node>/<microservice>/bep?hmac=<code> answers with the BEP's URL.
    """
    from gateway.cli.client.queries import make_code

    run(make_code(target_of(url, state), node, ttl, as_json=as_json))


def deploy(  # options
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with service.py and microservice.toml.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the container. [default: the microservice's]")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A setting for it; may be given several times."),
    ] = None,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Send a microservice to a gateway and start it.

    Packs the folder into an image, uploads it, starts it and prints the URL to call. If it does
    not start, prints the reason; the version before continues to run.
    """
    from gateway.cli.client.deploy import deploy_folder, parse_env

    settings = parse_env(env or [])
    run(deploy_folder(target_of(url, state), directory, name, settings, as_json=as_json))
