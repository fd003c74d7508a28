"""The broker alone, in the foreground."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from broker import Broker, BrokerError, Listener
from broker.access.source import is_loopback
from broker.conf import (
    AccessSettings,
    Anonymous,
    BrokerSettings,
    ListenerSettings,
    MetricsSettings,
    Realms,
    load_settings,
    open_listeners,
)
from broker.conf.listeners import renew_certificates
from broker.conf.settings import parse_address
from broker.journal import Durability, Journal
from broker.pauses import look_seldom, spare_what_stays
from gateway.cli.errors import CliError, OptionError
from gateway.errors import GatewayError
from gateway.logs import configure_logs

Access = Anonymous  # who may connect without a password
MEMORY: Durability = "memory"

logger = logging.getLogger(__name__)


def configure_from(path: Path) -> BrokerSettings:
    """Return what a file says; its notices go to standard error."""
    try:
        settings = load_settings(path)
    except BrokerError as exc:
        raise CliError(str(exc)) from exc
    for notice in settings.notices:
        sys.stderr.write(f"notice: {path}: {notice}\n")
    return settings


def open_to(listen: Sequence[str], access: Access) -> BrokerSettings:
    """Return the settings of a broker without users, for anyone who may connect."""
    listeners = tuple(parse_listener(text) for text in listen)
    check_access(listeners, access)
    return BrokerSettings(
        listeners, AccessSettings(anonymous=access, allow_everything=True), log_level="WARNING"
    )


def show_metrics(settings: BrokerSettings, address: str, *, to_network: bool) -> BrokerSettings:
    """Return the settings with metrics at an address."""
    try:
        host, port = parse_address(address)
    except ValueError as exc:
        raise OptionError(f"cannot show metrics on {address}: {exc}") from exc
    metrics = MetricsSettings(host, port, to_network)
    fault = metrics.find_fault()
    if fault:
        raise OptionError(fault.replace("open_to_network = true", "--open-to-network"))
    return replace(settings, metrics=metrics)


def run_broker(settings: BrokerSettings, config: Path | None, *, only_check: bool) -> None:
    """Serve until SIGTERM or Ctrl-C; print one line when ready."""
    configure_logs(os.environ.get("HECATE_LOG_LEVEL", settings.log_level))
    try:
        listeners = open_listeners(settings)
        realms = Realms(settings)
        realms.take(realms.read())
    except BrokerError as exc:
        raise CliError(str(exc)) from exc
    if only_check:
        where = ", ".join(each.name for each in settings.listeners)
        print(f"{config or 'options'}: good configuration for the broker: MQTT {where}")  # noqa: T201
        return
    with contextlib.closing(realms):
        asyncio.run(_Solo(settings, realms, listeners).serve(reloads=config is not None))


def keep_in(
    settings: BrokerSettings, data: Path | None, durability: Durability | None
) -> BrokerSettings:
    """Return settings that keep data where the options say, if they do."""
    if data is not None:
        settings = replace(settings, data=data)
    if durability is not None:
        if settings.data is None and durability != MEMORY:
            raise OptionError(f"cannot use --durability {durability}: it goes with --data DIR")
        settings = replace(settings, durability=durability)
    return settings


def _open_store(settings: BrokerSettings) -> Journal | None:
    if settings.data is None or settings.durability == MEMORY:
        return None
    return Journal(settings.data, settings.durability)


def parse_listener(text: str) -> ListenerSettings:
    """Return the listener in HOST:PORT; brackets go round an IPv6 address."""
    try:
        host, port = parse_address(text)
    except ValueError as exc:
        raise OptionError(f"cannot listen on {text}: {exc}") from exc
    return ListenerSettings(host=host, port=port)


def check_access(listeners: Sequence[ListenerSettings], access: Access) -> None:
    """Refuse what would serve nobody, and what would serve everybody without being asked."""
    if access is Access.NO:
        raise OptionError(
            "cannot start broker: it has no users, so nobody could connect; add --anonymous to let "
            "anyone on this machine in, or --config FILE with users and rights"
        )
    for listener in listeners:
        if access is not Access.NETWORK and not is_loopback(listener.host):
            raise OptionError(
                f"cannot listen on {listener.name}: anyone on the network could "
                "read and write everything; add --open-to-network if that is what you want"
            )


class _Solo:
    """One broker, its signals and its files."""

    def __init__(self, settings: BrokerSettings, realms: Realms, listeners: list[Listener]) -> None:
        self._settings, self._realms, self._listeners = settings, realms, listeners
        self._broker = Broker(
            listeners,
            realms,
            realms,
            settings.limits,
            store=_open_store(settings),
            sys_interval_s=settings.sys_interval_s,
        )
        self._stopped, self._changed = asyncio.Event(), asyncio.Event()

    async def serve(self, *, reloads: bool) -> None:
        """Run until a signal ends it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopped.set)
        if reloads:  # else a terminal that closes ends it
            loop.add_signal_handler(signal.SIGHUP, self._changed.set)
        try:
            await self._broker.start()
        except BrokerError as exc:
            raise CliError(str(exc)) from exc
        reloading = asyncio.create_task(self._reload())
        try:
            async with contextlib.AsyncExitStack() as stack:
                shown = await self._show_metrics(stack)
                look_seldom()
                spare_what_stays()
                print(f"{self._ready_line()}{shown}", flush=True)  # noqa: T201
                await self._stopped.wait()
        except GatewayError as exc:
            raise CliError(str(exc)) from exc
        finally:
            reloading.cancel()
            await asyncio.gather(reloading, return_exceptions=True)
            await self._broker.stop()
            logger.info("stopped")

    async def _show_metrics(self, stack: contextlib.AsyncExitStack) -> str:
        if self._settings.metrics is None:
            return ""
        from gateway.cli.scraped import serving  # 10 MiB that only who is scraped needs

        address = await stack.enter_async_context(serving(self._broker, self._settings.metrics))
        return f"; metrics http://{_show(address)}/metrics"

    async def _reload(self) -> None:
        """Read all files again whenever asked; if one cannot be used, nothing changes."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                found = await asyncio.to_thread(self._realms.read)
                await asyncio.to_thread(open_listeners, self._settings)  # only to see that it works
                renew_certificates(self._settings, self._listeners)
            except BrokerError as exc:
                logger.error("users, rights and certificates stay as they were: %s", exc)  # noqa: TRY400
                continue
            gone = self._realms.take(found)
            self._broker.rights_changed()
            cut = 0
            for name in gone:
                is_another = self._realms.has_user(name)  # only its password is
                cut += (self._broker.cut if is_another else self._broker.revoke)(name)
            logger.info("read users, rights and certificates again; cut %d connections", cut)

    def _ready_line(self) -> str:
        shown = zip(self._broker.all_addresses, self._settings.listeners, strict=True)
        where = ", ".join(
            f"{_show(address)}{_kind(settings)}" for bound, settings in shown for address in bound
        )
        return f"broker ready: MQTT {where}; {_who(self._settings)} may connect"


def _who(settings: BrokerSettings) -> str:
    every = [each.access or settings.access for each in settings.listeners]
    open_to = {_who_comes(each, settings) for each in settings.listeners}
    who = []
    if any(each.password_file or each.tokens or each.certificate_name for each in every):
        who.append("users")
    if Access.NETWORK in open_to:
        who.append("anyone on the network")
    elif Access.LOOPBACK in open_to:
        who.append("anyone on this machine")
    return " and ".join(who)


def _who_comes(listener: ListenerSettings, settings: BrokerSettings) -> Access:
    """Return who may connect there without a password, and can."""
    access = (listener.access or settings.access).anonymous
    is_far = listener.path is None and not (listener.host and is_loopback(listener.host))
    if access is Access.NETWORK and not is_far and not listener.proxies:
        return Access.LOOPBACK
    return access


def _kind(listener: ListenerSettings) -> str:
    kinds = (("WebSocket", listener.websocket), ("TLS", listener.tls), ("PROXY", listener.proxies))
    named = ", ".join(name for name, is_so in kinds if is_so)
    return f" ({named})" if named else ""


def _show(address: tuple[str, int] | Path) -> str:
    if isinstance(address, Path):
        return str(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
