"""Declares the commands that query a gateway: names, options and help."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from gateway.cli.errors import OptionError
from gateway.cli.options import Json, State, Url, examples, run, target_of
from protocol.geo.position import FARTHEST_M, NEAR_M


class Scope(StrEnum):
    """The scope of a cluster."""

    linkLocal = "linkLocal"  # noqa: N815  # the API's word
    account = "account"
    proximity = "proximity"


def register(app: typer.Typer) -> None:
    """Add these commands to the root command."""
    app.command(epilog=examples("hecate status", "hecate status --json | jq .sep.state"))(status)
    app.command(
        epilog=examples(
            "hecate nodes",
            "hecate nodes --all --json",
            "hecate nodes --refused",
            "hecate nodes --cluster proximity --radius 500",
        )
    )(nodes)
    app.command(epilog=examples("hecate route greenhouse"))(route)
    app.command(
        epilog=examples(
            "hecate call greenhouse /healthz",
            "hecate call NODE /api/climate/v1/ -d x",
            "hecate call NODE /api/films/v1/1 --bulk > film",
        )
    )(call)
    app.command(epilog=examples("CODE=$(hecate code)", "hecate code NODE --ttl 60"))(code)


def status(url: Url = None, state: State = None, as_json: Json = False) -> None:
    """Show the status of a gateway.

    Prints devices with their last readings, microservices, the link to the cloud, and messages. The
    exit code is 0 when the gateway is ready, and 1 when it is not ready or cannot be reached.
    """
    from gateway.cli.client.queries import show_status

    raise typer.Exit(run(show_status(target_of(url, state), as_json=as_json)))


def nodes(  # noqa: PLR0913  # options
    cluster: Annotated[
        Scope | None,
        typer.Option(
            help="linkLocal: on this network; account: of the same owner; proximity: near. "
            "[default: linkLocal]"
        ),
    ] = None,
    radius: Annotated[
        int | None,
        typer.Option(
            metavar="METRES",
            min=1,
            max=int(FARTHEST_M),
            help=f"The greatest distance, with --cluster proximity. [default: {NEAR_M}]",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Nodes of this network and of the account.")
    ] = False,
    refused: Annotated[
        bool, typer.Option("--refused", help="Nodes that this one did not admit, and why.")
    ] = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """List the nodes of a cluster.

    With --all and without the cloud, prints the nodes of this network, and the exit code is 1.
    """
    lists = {"--all": every, "--refused": refused, "--cluster": cluster is not None}
    given = [option for option, is_given in lists.items() if is_given]
    if len(given) > 1:
        raise OptionError(f"cannot list nodes: give one of {' and '.join(given)}")
    if radius is not None and cluster is not Scope.proximity:
        raise OptionError("cannot list nodes: --radius needs --cluster proximity")
    if every or refused:
        from gateway.cli.client.cluster import list_all_nodes, list_refused

        show = list_refused if refused else list_all_nodes
        raise typer.Exit(run(show(target_of(url, state), as_json=as_json)))
    from gateway.cli.client.queries import list_nodes

    scope = (cluster or Scope.linkLocal).value
    run(list_nodes(target_of(url, state), scope, radius or NEAR_M, as_json=as_json))


NodeName = Annotated[
    str, typer.Argument(metavar="NODE", help="Its node id, the start of it, or its name.")
]


def route(node: NodeName, url: Url = None, state: State = None, as_json: Json = False) -> None:
    """Show the ways to a node, in the order of their use.

    Exit code 1 when there is none.
    """
    from gateway.cli.client.cluster import show_route

    raise typer.Exit(run(show_route(target_of(url, state), node, as_json=as_json)))


def call(  # noqa: PLR0913  # options
    node: NodeName,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Path and query, from /.")],
    method: Annotated[
        str, typer.Option("-X", "--method", metavar="METHOD", help="[default: GET; POST with -d]")
    ] = "",
    body: Annotated[
        str, typer.Option("-d", "--data", metavar="BODY", help="The body; - is standard input.")
    ] = "",
    bulk: Annotated[
        bool, typer.Option("--bulk", help="Use a tunnel (BEP) if the network does not lead to it.")
    ] = False,
    url: Url = None,
    state: State = None,
) -> None:
    """Call a node by the shortest way, and print its answer.

    With --bulk, a request that has to go through the cloud gets a tunnel of its own (BEP), if the
    microservice allows one. Its body and its answer may then have any size.

    The other node serves the same as over the SEP: microservices with expose = "public" to all
    callers, the rest to callers with an access token in HECATE_API_KEY. Exit code 1 when the answer
    is an error.
    """
    from gateway.cli.client.cluster import NodeRequest, call_node

    data = sys.stdin.buffer.read() if body == "-" else body.encode()
    request = NodeRequest(method or ("POST" if body else "GET"), path, data, bulk)
    raise typer.Exit(run(call_node(target_of(url, state), node, request)))


def code(
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="Its node id. [default: this node]")
    ] = None,
    ttl: Annotated[int, typer.Option(metavar="SECONDS", min=1, help="Its lifetime.")] = 600,
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
