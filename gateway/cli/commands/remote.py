"""Declares the commands that query a gateway: names, options and help."""

from enum import StrEnum
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
