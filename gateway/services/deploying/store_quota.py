"""Watches the data folder of each container, and ends one that holds more than its quota.

The kernel offers quotas for folders on some file systems only; a look every CHECK_S works on all.
A container that is ended for this is started again with growing pauses, and runs until the next
look: it can delete its files when it starts.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

from gateway.services.containers import ContainerState
from gateway.services.deploying.container_table import ContainerTable, Deployed
from gateway.services.limits import ServiceLimits
from gateway.services.logs.log import LOG_NAME, note_line

logger = logging.getLogger(__name__)

CHECK_S = 10.0
NEAR = 0.9  # of the quota: the container is told in its log
MIB = 1024 * 1024
BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are
ENTRY_BYTES = 1024  # an inode and its name: millions of empty files would fill the disk, too


class QuotaVerdict(Enum):
    """The verdict on the size of a folder."""

    WITHIN = auto()
    NEAR = auto()
    OVER = auto()


def judge(size_bytes: int, quota_bytes: int) -> QuotaVerdict:
    """Return the verdict on a folder of a size."""
    if size_bytes > quota_bytes:
        return QuotaVerdict.OVER
    return QuotaVerdict.NEAR if size_bytes >= NEAR * quota_bytes else QuotaVerdict.WITHIN


def folder_bytes(folder: Path) -> int:
    """Return the room on disk of all that is below a folder; links are not followed. Blocks."""
    total = 0
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):  # it was deleted meanwhile
                blocks = os.lstat(os.path.join(where, name)).st_blocks  # noqa: PTH118  # a path object costs more than the call
                total += ENTRY_BYTES + blocks * BLOCK_BYTES
    return total


class StoreQuotas:
    """Looks at all containers in turn; folder_of returns the folder of a container."""

    def __init__(
        self,
        table: ContainerTable,
        limits: ServiceLimits,
        folder_of: Callable[[str], Path],
        clock: Callable[[], float],
    ) -> None:
        self._table, self._limits = table, limits
        self._folder_of, self._clock = folder_of, clock
        self._told: set[str] = set()  # ids of containers that are near their quota

    async def run(self) -> None:
        """Look at the folders every CHECK_S until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            await self.check_all()

    async def check_all(self) -> None:
        """Look at each folder once."""
        for deployed in self._table.all():
            if deployed.supervisor.state is ContainerState.STARTED:
                await self._check(deployed)

    async def _check(self, deployed: Deployed) -> None:
        container_id, supervisor = deployed.stored.container_id, deployed.supervisor
        folder = self._folder_of(container_id)
        own = supervisor.version.manifest.limits.store_mib
        quota = own * MIB if own is not None else self._limits.store_bytes
        size = await asyncio.to_thread(folder_bytes, folder / "data")
        verdict = judge(size, quota)
        holds = f"its data folder holds {size / MIB:.1f} MiB"
        if verdict is QuotaVerdict.OVER:
            await supervisor.end_for(
                f"{holds}, more than [limits] store_mib = {quota / MIB:g}; raise the limit, or "
                "delete files when it starts"
            )
        elif verdict is QuotaVerdict.NEAR and container_id not in self._told:
            text = f"{holds} of {quota / MIB:g} ([limits] store_mib); beyond that it is ended"
            logger.warning("%s: %s", container_id, text)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(note_line, folder / LOG_NAME, text, self._clock())
        if verdict is QuotaVerdict.WITHIN:
            self._told.discard(container_id)
        else:
            self._told.add(container_id)
