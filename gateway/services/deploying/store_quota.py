"""Watches the files of each container, and ends one that holds more than its quota.

Its files are those of the data folder and of the temporary one, and what it has deleted and still
has open or mapped: that room is free again only when it closes them. The kernel tells the size of
a file that is mapped only, and not open, to a gateway with CAP_CHECKPOINT_RESTORE (root has it).

The kernel offers quotas for folders on some file systems only; a look every CHECK_S works on all.
A container that is ended for this is started again with growing pauses, and runs until the next
look: it can delete its files when it starts.
"""

import asyncio
import contextlib
import logging
import os
import stat
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

from gateway.services.containers import ContainerState
from gateway.services.deploying.container_table import ContainerTable, Deployed
from gateway.services.limits import ServiceLimits
from gateway.services.logs.log import LOG_NAME, note_line
from gateway.storage.trees import TreeDepthError, walk_tree

logger = logging.getLogger(__name__)

CHECK_S = 10.0
NEAR = 0.9  # of the quota: the container is told in its log
MIB = 1024 * 1024
DATA, TEMPORARY = "data", "tmp"  # below the folder of a container
DELETED = " (deleted)"  # proc_pid_fd(5)
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
    """Return the room on disk of all that is below a folder; links are not followed. Blocks.

    Raises:
        TreeDepthError: its folders are nested too deep.
    """
    return sum(ENTRY_BYTES + one.status.st_blocks * BLOCK_BYTES for one in walk_tree(folder))


def deleted_bytes(folder: Path) -> int:
    """Return the room of files below a folder that are deleted, and still open or mapped. Blocks.

    A process has the paths of its files as they are outside (microservice/isolation/root_folder).
    """
    found: dict[tuple[int, int], int] = {}
    with contextlib.suppress(OSError):
        owner = (folder / DATA).stat().st_uid
        prefix = f"{folder.resolve()}/"  # the kernel names files without links
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or is not the gateway's to look at
                if process.stat().st_uid == owner:
                    _note_open(f"{process}/fd", prefix, found)
                    _note_mapped(str(process), prefix, found)
    return sum(found.values())


def _note_open(descriptors: str, prefix: str, found: dict[tuple[int, int], int]) -> None:
    for name in os.listdir(descriptors):  # noqa: PTH208  # path objects cost more than the calls
        with contextlib.suppress(OSError):  # it was closed meanwhile
            target = os.readlink(f"{descriptors}/{name}")  # noqa: PTH115
            if target.endswith(DELETED) and target.startswith(prefix):
                _note_size(f"{descriptors}/{name}", found)


def _note_mapped(process: str, prefix: str, found: dict[tuple[int, int], int]) -> None:
    with open(f"{process}/maps", encoding="utf-8", errors="replace") as maps:  # noqa: PTH123
        for line in maps:
            if DELETED in line and prefix in line:
                # the kernel fills these up with zeros in the text, not in the names
                start, _, end = line.partition(" ")[0].partition("-")
                with contextlib.suppress(OSError):
                    _note_size(f"{process}/map_files/{int(start, 16):x}-{int(end, 16):x}", found)


def _note_size(link: str, found: dict[tuple[int, int], int]) -> None:
    status = os.stat(link)  # noqa: PTH116
    if stat.S_ISREG(status.st_mode):
        found[status.st_dev, status.st_ino] = status.st_blocks * BLOCK_BYTES


def used_bytes(folder: Path) -> int:
    """Return the room on disk that a container takes, but for its log. Blocks."""
    kept = sum(folder_bytes(folder / name) for name in (DATA, TEMPORARY))
    return kept + deleted_bytes(folder)


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
        try:
            size = await asyncio.to_thread(used_bytes, folder)
        except TreeDepthError as exc:
            await supervisor.end_for(f"{exc}: the gateway cannot see what they hold")
            return
        verdict = judge(size, quota)
        holds = f"its files take {size / MIB:.1f} MiB"
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
