"""Declares the commands of `hecate keys`: their names, options and help."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import Json, examples

keys_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make keys: certificates for TLS, and keys that sign images.",
)


@keys_app.callback()
def keys() -> None:
    """Make keys: certificates for TLS, and keys that sign images."""


@keys_app.command(
    "make",
    epilog=examples(
        "hecate keys make /etc/hecate/tls",
        "hecate keys make tls --name hecate.example.com --address 203.0.113.7",
    ),
)
def make(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder for the files; made if it is not there.")
    ],
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name callers use; may be given several times."),
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="IP", help="An address callers use; may be given several times."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a small certificate authority, and certificates for gateway, cloud and relay.

    Use it for machines without certificates of their own. The certificates are for this machine's
    names and addresses and for those given. Existing keys are kept. A certificate is made again
    when it ends within 60 days or lacks a name; running servers load it by themselves. Every file
    is readable by its owner only.
    """
    from gateway.cli.keys.make import make_keys

    print(make_keys(directory, name or [], address or [], as_json=as_json))  # noqa: T201


@keys_app.command(
    "signing",
    epilog=examples("hecate keys signing release.key", "hecate build hello --sign release.key"),
)
def signing(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The private key; FILE.pub is the public one.")
    ],
    as_json: Json = False,
) -> None:
    """Make a key that signs images.

    Writes an Ed25519 key in PEM, readable by its owner only; an existing key is kept. A gateway
    with [services] require_signature takes only images that one of its trusted_keys has signed.
    """
    from gateway.cli.keys.signing import make_signing_key

    print(make_signing_key(file, as_json=as_json))  # noqa: T201
