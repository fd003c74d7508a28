"""Reads a configuration file of either kind."""

from pathlib import Path

from broker.access.errors import AccessError
from broker.access.rights.text import read_text
from broker.standalone.compat_conf import parse_mosquitto
from broker.standalone.errors import ConfError
from broker.standalone.lines import read_lines
from broker.standalone.settings import BrokerSettings
from broker.standalone.toml_conf import parse_toml


def load_settings(path: Path) -> BrokerSettings:
    """Return what a file says: TOML when it is called so, else compatible with Mosquitto's.

    Raises:
        ConfError: names every option that cannot be used, with its place.
    """
    if path.suffix == ".toml":
        try:
            text = read_text(path)
        except AccessError as exc:
            raise ConfError(path, [str(each) for each in exc.problems]) from exc
        settings, problems = parse_toml(text, path.resolve().parent)
    else:
        settings, problems = parse_mosquitto(read_lines(path))
    if problems:
        raise ConfError(path, problems)
    return settings
