"""Combines the options of `hecate broker` with a file or the environment."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from broker.access.source import is_loopback
from broker.journal import Durability
from broker.standalone.conf.settings import (
    AccessSettings,
    Anonymous,
    BrokerSettings,
    ListenerSettings,
    MetricsEndpointSettings,
)
from broker.standalone.conf.toml_conf import parse_variables
from broker.standalone.errors import CommandError
from settings.addresses import HostPort

MEMORY: Durability = "memory"


def open_to(
    listen: Sequence[str], anonymous: Anonymous, environ: Mapping[str, str]
) -> BrokerSettings:
    """Return the settings of a broker without a file.

    Raises:
        BrokerError: it would serve nobody, or more than the options ask for.
    """
    tables = parse_variables(environ)
    settings = tables.build()
    settings = replace(settings, log_level=tables.log.level or "WARNING")
    if listen:
        settings = replace(settings, listeners=tuple(_parse_listener(text) for text in listen))
    if settings.access != AccessSettings():
        return _checked(settings, anonymous)
    check_access(settings.listeners, anonymous)
    return replace(settings, access=AccessSettings(anonymous=anonymous, allow_everything=True))


def show_metrics(settings: BrokerSettings, address: str, *, to_network: bool) -> BrokerSettings:
    """Return the settings with a metrics endpoint at an address."""
    try:
        parsed = HostPort.parse(address)
    except ValueError as exc:
        raise CommandError(f"cannot show metrics on {address}: {exc}") from exc
    metrics = MetricsEndpointSettings(parsed.host, parsed.port, to_network)
    fault = metrics.find_fault()
    if fault:
        raise CommandError(fault.replace("open_to_network = true", "--open-to-network"))
    return replace(settings, metrics=metrics)


def store_in(
    settings: BrokerSettings, data: Path | None, durability: Durability | None
) -> BrokerSettings:
    """Return the settings with the folder and the durability of the options, if given."""
    if data is not None:
        settings = replace(settings, data=data)
    if durability is not None:
        if settings.data is None and durability != MEMORY:
            raise CommandError(f"cannot use --durability {durability}: it goes with --data DIR")
        settings = replace(settings, durability=durability)
    return settings


def check_access(listeners: Sequence[ListenerSettings], anonymous: Anonymous) -> None:
    """Refuse a broker for nobody, and one for everybody that was not asked for."""
    if anonymous is Anonymous.NO:
        raise CommandError(
            "cannot start broker: it has no users, so nobody could connect; add --anonymous to let "
            "anyone on this machine in, or --config FILE with users and rights"
        )
    for listener in listeners:
        if anonymous is not Anonymous.NETWORK and not is_loopback(listener.host):
            raise CommandError(
                f"cannot listen on {listener.name}: anyone on the network could "
                "read and write everything; add --open-to-network if that is what you want"
            )


def _checked(settings: BrokerSettings, anonymous: Anonymous) -> BrokerSettings:
    if anonymous is not Anonymous.NO:
        raise CommandError("cannot use --anonymous: HECATE_BROKER_ACCESS_… decides")
    faults = settings.find_faults()
    if faults:
        raise CommandError(f"cannot use the environment: {'; '.join(faults)}")
    return settings


def _parse_listener(text: str) -> ListenerSettings:
    try:
        address = HostPort.parse(text)
    except ValueError as exc:
        raise CommandError(f"cannot listen on {text}: {exc}") from exc
    return ListenerSettings(host=address.host, port=address.port)
