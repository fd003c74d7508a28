"""Reads our own configuration file and the environment."""

from collections.abc import Mapping
from pathlib import Path

from broker.standalone.conf.settings import BrokerSettings
from broker.standalone.conf.tables import BrokerFile
from broker.standalone.errors import ConfError
from settings.environment import BROKER, Variables
from settings.errors import SettingsError
from settings.reader import load_settings


def parse_toml(
    text: str, folder: Path, environ: Mapping[str, str]
) -> tuple[BrokerSettings, list[str]]:
    """Return the settings and every fault; relative paths start at the file's folder."""
    variables = Variables(environ, BROKER)
    try:
        file = load_settings(BrokerFile, text, "broker.toml", variables, folder=folder)
    except SettingsError as exc:
        return BrokerFile().build(), list(exc.faults)
    settings = file.build()
    return settings, settings.find_faults()


def parse_variables(environ: Mapping[str, str]) -> BrokerFile:
    """Return the tables of a broker without a file: the defaults and the environment.

    Raises:
        ConfError: a variable cannot be used.
    """
    try:
        return load_settings(BrokerFile, "", "environment", Variables(environ, BROKER))
    except SettingsError as exc:
        raise ConfError("the environment", exc.faults) from exc
