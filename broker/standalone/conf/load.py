"""Reads a configuration file of either kind."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from broker.access.errors import AccessError
from broker.access.rights.text import read_text
from broker.standalone.conf.compat_conf import parse_mosquitto
from broker.standalone.conf.lines import read_lines
from broker.standalone.conf.settings import LEVELS, BrokerSettings
from broker.standalone.conf.toml_conf import parse_toml
from broker.standalone.errors import ConfError
from settings.environment import BROKER, LOG_LEVEL, Variables


def load_broker_settings(path: Path, environ: Mapping[str, str]) -> BrokerSettings:
    """Return the settings of a file; one whose name does not end in .toml is a mosquitto.conf.

    HECATE_BROKER_<SECTION>_<KEY> overrides a setting of a TOML file.

    Raises:
        ConfError: names every option that cannot be used, with its place.
    """
    if path.suffix == ".toml":
        try:
            text = read_text(path)
        except AccessError as exc:
            raise ConfError(path, [str(each) for each in exc.problems]) from exc
        settings, problems = parse_toml(text, path.resolve().parent, environ)
    else:
        settings, problems = parse_mosquitto(read_lines(path))
        problems += _refuse_variables(environ)
        settings = replace(settings, log_level=environ.get(LOG_LEVEL, settings.log_level))
        if settings.log_level not in LEVELS:
            problems.append(f"{LOG_LEVEL}: must be one of {', '.join(LEVELS)}")
    if problems:
        raise ConfError(path, problems)
    return settings


def _refuse_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a fault for each variable that would override nothing."""
    unknown = Variables(environ, BROKER).find_unknown(frozenset())
    return [f"{name}: overrides a TOML file only" for name in unknown]
