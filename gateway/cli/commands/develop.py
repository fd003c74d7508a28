"""Declares the commands that write, try, build and deploy a microservice: names, options, help."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.errors import OptionError
from gateway.cli.options import Json, State, Url, examples, run, target_of

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder with microservice.toml and the code.")
]
Env = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="A variable for it; may be given several times."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of its [settings]; several times."),
]
SecretFile = Annotated[
    list[str] | None,
    typer.Option(
        "--secret", metavar="NAME=@FILE", help="A secret from a file, or NAME=- from input."
    ),
]
Sign = Annotated[
    Path | None,
    typer.Option(metavar="KEY", help="Sign the image; `hecate keys signing KEY` makes a key."),
]
Upgrade = Annotated[
    bool, typer.Option("--upgrade", help="Resolve requirements.txt anew, not by its lock.")
]


def _new_folder(name: str) -> Path:
    """Return a folder; an empty name, as of a variable that is not set, is not the present one."""
    if not name.strip():
        raise OptionError(
            "cannot make a microservice: its name is empty; `hecate new hello` makes one, "
            "`hecate new .` one in the present folder"
        )
    return Path(name)


def register(app: typer.Typer) -> None:
    """Add these commands to the root command."""
    app.command(epilog=examples("hecate new hello", "hecate new hook --js", "hecate dev hello"))(
        new
    )
    app.command(hidden=True)(init)
    app.command(
        epilog=examples(
            "hecate dev hello", "hecate dev hello --env UNIT=celsius", "hecate dev . --keep"
        )
    )(dev)
    app.command(
        epilog=examples(
            "hecate build hello",
            "hecate build hello --platform linux/arm64 --python 3.13",
            "hecate build hello --output out/hello.tar --sign release.key",
            "hecate deploy hello-v1.tar",
        )
    )(build)
    app.command(
        epilog=examples(
            "hecate deploy hello",
            "hecate deploy hello-v1.tar",
            "hecate deploy hello --env CITY=Delft --env UNIT=celsius",
            "hecate deploy hello --node barn --node attic",
            "hecate deploy hello --all --wave 10% --max-failures 2",
        )
    )(deploy)


def new(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="NAME", help="Its name, and the folder to make.", parser=_new_folder
        ),
    ],
    javascript: Annotated[bool, typer.Option("--js", help="In JavaScript, not in Python.")] = False,
    as_json: Json = False,
) -> None:
    """Write a microservice that works at once.

    Makes a folder with microservice.toml (its name and its rights), service.py or index.js (its
    code), a test for pytest, and a README. Existing files stay as they are.
    """
    from gateway.cli.scaffold import write_folder

    write_folder(directory, javascript=javascript, as_json=as_json)


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write into.", parser=_new_folder)
    ],
    as_json: Json = False,
) -> None:
    """Write a microservice that works at once; the former name of `hecate new`."""
    new(directory, as_json=as_json)


def dev(  # noqa: PLR0913  # options
    directory: Folder,
    env: Env = None,
    set_values: Set = None,
    secret: SecretFile = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep it running after Ctrl-C.")] = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Run a microservice while you write it.

    Deploys the folder under a name of its own, NAME-dev, beside the microservice that is in use,
    and answers below /NAME-dev. Every save deploys it again; a fault is shown, and the version
    before continues to run. Shows the log, with the files and lines of your folder, until Ctrl-C,
    then removes it. With --json each event is an object of its own.
    """
    from gateway.cli.dev.session import DevOptions, develop
    from gateway.cli.services.settings import ValueChanges
    from gateway.cli.services.values import parse_env, parse_secrets, parse_settings

    values = ValueChanges(parse_settings(set_values or []), parse_secrets(secret or []))
    options = DevOptions(directory, parse_env(env or []), values, keep, as_json)
    raise typer.Exit(run(develop(options, url, state)))


def build(  # noqa: PLR0913  # options
    directory: Folder,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The image. [default: NAME-vVERSION.tar here]"
        ),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(
            metavar="PLATFORM",
            help="The gateway's machine, for requirements.txt: linux/amd64, linux/arm64, "
            "linux/arm/v7 … [default: this one]",
        ),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="The gateway's Python. [default: this one]"),
    ] = None,
    sign: Sign = None,
    upgrade: Upgrade = False,
    as_json: Json = False,
) -> None:
    """Build the image of a microservice.

    The same folder gives the same bytes on every machine. The packages of requirements.txt go into
    the image as wheels for the gateway's machine, and into requirements.lock with their hashes;
    the next build takes them from there. `hecate deploy` does this by itself for the gateway that
    it deploys to.
    """
    from gateway.cli.packaging.command import build_image

    build_image(directory, output, (platform, python), sign, upgrade=upgrade, as_json=as_json)


def deploy(  # noqa: PLR0913  # options
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|IMAGE", help="Folder with a microservice, or an image of `hecate build`."
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the container. [default: the microservice's]")
    ] = None,
    env: Env = None,
    set_values: Set = None,
    secret: SecretFile = None,
    node: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODE",
            help="A node of the account, by name or id; may be given several times.",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All nodes of the account.")] = False,
    wave: Annotated[
        str,
        typer.Option(metavar="N|N%", help="The size of a wave; the next one begins when it runs."),
    ] = "20%",
    max_failures: Annotated[
        str, typer.Option(metavar="N|N%", help="Stop when more nodes than this have failed.")
    ] = "0",
    sign: Sign = None,
    upgrade: Upgrade = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Send a microservice to a gateway and start it.

    Packs the folder into an image, with the packages of its requirements.txt, uploads it, starts
    it and prints the URL to call. If it does not start, prints the reason and the end of its log;
    the version before continues to run.

    With --node or --all the gateway passes it on to those nodes, in waves, and the command shows
    each of them. Ctrl-C ends only the view; `hecate rollouts` shows it again.
    """
    from gateway.cli.services.deploy import DeployOptions
    from gateway.cli.services.deploy import deploy as deploy_source
    from gateway.cli.services.rollouts import RolloutOptions
    from gateway.cli.services.settings import ValueChanges
    from gateway.cli.services.values import parse_env, parse_secrets, parse_settings

    if sign is not None and source.is_file():
        raise OptionError("cannot sign a built image: give --sign to `hecate build`")
    if node and every:
        raise OptionError("cannot deploy: give --node or --all, not both")
    rollout = RolloutOptions(tuple(node or ()), every, wave, max_failures)
    values = ValueChanges(parse_settings(set_values or []), parse_secrets(secret or []))
    if rollout.is_wanted and values.body():
        raise OptionError("cannot deploy to several nodes with --set or --secret: use --env")
    options = DeployOptions(source, name, parse_env(env or []), values, sign, upgrade, rollout)
    raise typer.Exit(run(deploy_source(target_of(url, state), options, as_json=as_json)))
