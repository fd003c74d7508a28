"""Runs the cloud from the command line: `python -m cloud`."""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cloud.app import run_cloud
from cloud.config import CloudConfig, StoreSettings, load_cloud_config
from cloud.errors import StartError
from cloud.logs import set_up_logging
from settings.errors import SettingsError
from web.tls.settings import check_listener


def serve(
    config: Annotated[
        Path | None, typer.Option(help="TOML file; HECATE_CLOUD_… variables override it")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Directory for database and keys ([store] directory)")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address all three listen on")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port of the API ([api] port), 8080")
    ] = None,
    mqtt_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port of MQTT ([mqtt] port), 1884")
    ] = None,
    relay_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port of the relay ([relay] port), 8443")
    ] = None,
) -> None:
    """Run the cloud: discovery, signalling, tokens, identity and relay, in one process.

    Prints "cloud ready: …" when it can be used. Stops on SIGTERM or Ctrl-C. Port 0: a free port.
    """
    try:
        settings = load_cloud_config(config, os.environ)
        settings = _with_options(settings, state, host, (port, mqtt_port, relay_port))
        set_up_logging(settings.log.level)
        asyncio.run(run_cloud(settings, _announce))
    except (StartError, SettingsError) as exc:
        print(exc, file=sys.stderr)  # noqa: T201
        raise typer.Exit(1) from exc


def _with_options(
    config: CloudConfig,
    state: Path | None,
    host: str | None,
    ports: tuple[int | None, int | None, int | None],
) -> CloudConfig:
    api, mqtt, relay = config.api, config.mqtt, config.relay
    if host is not None:
        api, mqtt = replace(api, host=host), replace(mqtt, host=host)
        relay = replace(relay, host=host)
    port, mqtt_port, relay_port = ports
    for section, listener in (("api", api), ("mqtt", mqtt), ("relay", relay)):
        try:
            check_listener(listener)
        except ValueError as exc:  # a host from the command line
            raise SettingsError(f"cannot start: [{section}] {exc}") from exc
    return replace(
        config,
        api=api if port is None else replace(api, port=port),
        mqtt=mqtt if mqtt_port is None else replace(mqtt, port=mqtt_port),
        relay=relay if relay_port is None else replace(relay, port=relay_port),
        store=config.store if state is None else StoreSettings(state),
    )


def _announce(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main() -> None:
    """Run the command line."""
    # Without markup: it would swallow [sections]. Without pretty exceptions: they show values.
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command()(serve)
    app()


if __name__ == "__main__":
    main()
