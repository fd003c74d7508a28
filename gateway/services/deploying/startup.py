"""Starts each container as it was when the gateway ended, whatever is damaged."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from gateway.services.configuration.values import ValueStore
from gateway.services.deploying.container_table import ContainerTable, placeholder
from gateway.services.errors import ServicesError, StorageError
from gateway.services.images.catalogue import StoredContainer
from gateway.services.runtimes.port import Version
from gateway.services.supervisor import Supervisor
from gateway.services.versions.history import VersionHistory

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResumedContainer:
    """A container as it was when the gateway ended; start() starts it if it ran.

    Attributes:
        version: to start with; None when there is none.
        why: there is none.
        has_waiting: another version waits for its turn.
    """

    stored: StoredContainer
    supervisor: Supervisor
    version: Version | None
    why: str
    has_waiting: bool

    def start(self) -> None:
        """Start it, or let it stand."""
        if self.stored.stopped:
            self.supervisor.stay_stopped(self.stored.filters)
        elif self.version is None:
            logger.error("cannot start %s: %s", self.stored.container_id, self.why)
            self.supervisor.stay_failed(self.why)
        else:
            self.supervisor.resume(self.stored.filters)


class ContainerStartup:
    """Chooses the version that each container starts with.

    It is the last that was ready; when its code is gone, a former one; when none was ever ready,
    the one that waits. A container without any of them stays failed, and tells why; all others
    start.
    """

    def __init__(
        self, table: ContainerTable, values: ValueStore, clock: Callable[[], float]
    ) -> None:
        self._table, self._values, self._clock = table, values, clock

    async def add(self, stored: StoredContainer, history: VersionHistory) -> ResumedContainer:
        """Add a container to the table, with its routes; it is not started yet."""
        container_id = stored.container_id
        waiting = history.activate(self._clock())
        version, why = await self._choose(stored, history)
        try:
            await self._values.load(container_id)
        except ServicesError as exc:
            version, why = None, str(exc)
        supervisor = self._table.add(stored, history, version or placeholder(stored))
        try:
            await self._table.write(container_id)
        except StorageError as exc:
            logger.warning("%s", exc)
        has_waiting = (
            waiting is not None
            and version is not None
            and not stored.stopped
            and version.number != waiting.number
        )
        return ResumedContainer(stored, supervisor, version, why, has_waiting)

    async def _choose(
        self, stored: StoredContainer, history: VersionHistory
    ) -> tuple[Version | None, str]:
        """Return the version to start with, or the reason why there is none."""
        running = history.running
        former = history.find_fallback(running.number if running else 0)
        why = stored.damage
        for source in (running, former, history.waiting, history.newest, stored):
            if source is None or (source is stored and stored.damage):
                continue
            try:
                version = await self._table.version_of(stored.client_id, source, source.env)
            except ServicesError as exc:
                why = why or f"{exc}; `hecate deploy` brings it back"
            else:
                if why:
                    logger.warning(
                        "%s starts with version %d: %s", stored.container_id, version.number, why
                    )
                return version, ""
        return None, why
