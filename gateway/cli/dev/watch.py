"""Finds out when a folder's files have changed and editors have finished writing them.

Polling needs no library, works on every file system, containers and network shares included, and
costs one stat() per file. An editor saves in several steps (write aside, rename, remove), so a
change counts when two looks in a row see the same.
"""

from collections.abc import Mapping
from pathlib import Path

from gateway.services.errors import ImageError
from gateway.services.images.pack import list_files

POLL_S = 0.2

FileStates = Mapping[str, tuple[int, int]]  # by path: time of the last change, size


def read_states(folder: Path) -> FileStates:
    """Return the states of the files that an image of the folder would hold."""
    states = {}
    try:
        for name, path in list_files(folder).items():
            try:
                found = path.stat()
            except FileNotFoundError:
                continue  # between two steps of an editor
            states[name] = (found.st_mtime_ns, found.st_size)
    except (ImageError, OSError) as exc:
        return {str(exc): (0, 0)}  # a build will say it; its end is a change
    return states


class ChangeDetector:
    """Tells a settled change from one that is still being written; reads no clock and no file."""

    def __init__(self, states: FileStates) -> None:
        self._known = self._last = states

    def look(self, states: FileStates) -> list[str]:
        """Return the files that differ from the last settled state; [] while they still change."""
        is_settled = states == self._last
        self._last = states
        if not is_settled or states == self._known:
            return []
        before, self._known = self._known, states
        names = before.keys() | states.keys()
        return sorted(name for name in names if before.get(name) != states.get(name))
