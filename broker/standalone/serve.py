"""Runs the broker alone, in the foreground, until a signal ends it."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from broker import Broker, BrokerError, Listener
from broker.gc_tuning import look_seldom, spare_what_stays
from broker.journal import Journal
from broker.standalone.conf.load import load_broker_settings
from broker.standalone.conf.settings import BrokerSettings
from broker.standalone.listeners import open_listeners, renew_certificates
from broker.standalone.options import MEMORY
from broker.standalone.ready_line import write_ready_line
from broker.standalone.realms import Realms
from settings.addresses import format_address

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

logger = logging.getLogger(__name__)


def read_config(path: Path, environ: Mapping[str, str]) -> BrokerSettings:
    """Return the settings of a file; its notices go to standard error."""
    settings = load_broker_settings(path, environ)
    for notice in settings.notices:
        sys.stderr.write(f"notice: {path}: {notice}\n")
    return settings


def run_broker(settings: BrokerSettings, config: Path | None, *, only_check: bool) -> None:
    """Serve until SIGTERM or Ctrl-C; print one line when ready.

    Raises:
        BrokerError: a file cannot be used, or an address cannot be listened on.
    """
    _configure_logs(settings.log_level)
    listeners = open_listeners(settings)
    realms = Realms(settings)
    realms.take(realms.read())
    if only_check:
        where = ", ".join(each.name for each in settings.listeners)
        print(f"{config or 'options'}: good configuration for the broker: MQTT {where}")  # noqa: T201
        return
    with contextlib.closing(realms):
        asyncio.run(_Process(settings, realms, listeners).serve(reloads=config is not None))


def _configure_logs(level: str) -> None:
    logging.basicConfig(level=level, format=LOG_FORMAT, force=True)
    for name in ("asyncio", "uvicorn"):  # they log each connection and each request
        logging.getLogger(name).setLevel(logging.WARNING)


def _open_store(settings: BrokerSettings) -> Journal | None:
    if settings.data is None or settings.durability == MEMORY:
        return None
    return Journal(settings.data, settings.durability)


class _Process:
    """Runs one broker, handles the signals of its process, and reads its files again."""

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
        if reloads:  # without a file, a terminal that closes ends the process
            loop.add_signal_handler(signal.SIGHUP, self._changed.set)
        await self._broker.start()
        reloading = asyncio.create_task(self._reload())
        try:
            async with contextlib.AsyncExitStack() as stack:
                metrics = await self._serve_metrics(stack)
                look_seldom()
                spare_what_stays()
                line = write_ready_line(self._settings, self._broker.all_addresses)
                print(f"{line}{metrics}", flush=True)  # noqa: T201
                await self._stopped.wait()
        finally:
            reloading.cancel()
            await asyncio.gather(reloading, return_exceptions=True)
            await self._broker.stop()
            logger.info("stopped")

    async def _serve_metrics(self, stack: contextlib.AsyncExitStack) -> str:
        """Serve the metrics endpoint if there is one; return its part of the ready line."""
        if self._settings.metrics is None:
            return ""
        from broker.standalone import http_endpoints  # 10 MiB, for a broker with metrics only

        serving = http_endpoints.serving(self._broker, self._settings.metrics)
        address = await stack.enter_async_context(serving)
        return f"; metrics http://{format_address(*address)}/metrics"

    async def _reload(self) -> None:
        """Read all files again at each SIGHUP; nothing changes if one of them has a fault."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                found = await asyncio.to_thread(self._realms.read)
                await asyncio.to_thread(open_listeners, self._settings)  # a trial
                renew_certificates(self._settings, self._listeners)
            except BrokerError as exc:
                logger.error("users, rights and certificates stay as they were: %s", exc)  # noqa: TRY400
                continue
            changed = self._realms.take(found)
            self._broker.rights_changed()
            cut = 0
            for name in changed:
                has_new_password = self._realms.has_user(name)
                cut += (self._broker.cut if has_new_password else self._broker.revoke)(name)
            logger.info("read users, rights and certificates again; cut %d connections", cut)
