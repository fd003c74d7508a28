"""Counts how often the process has ended while it handled a message that comes again.

A message whose handler ends the process (by a fault in a library, by its memory, by a loop that the
gateway has to end) is never acknowledged: the broker sends it to the next process, and to the next.
So the messages that come again, and these only, are noted in a file while their handlers run. A
message that is still noted when a process starts has ended the one before, or ran beside one that
did.

The file needs no fsync: it has to outlive the process, not the machine.
"""

import contextlib
import hashlib
import json
import logging
from pathlib import Path

from microservice.mqtt.wire import Incoming

logger = logging.getLogger(__name__)

FILE_NAME = ".unfinished"
ENTRIES = 1000
_KEY_BYTES = 16


class UnfinishedMessages:
    """The counts, by topic and payload; in memory only without a path."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._ends: dict[str, int] = {}  # of processes
        self._running: set[str] = set()
        self._is_read = path is None

    def begin(self, message: Incoming) -> int:
        """Note that handlers begin; return how many processes have ended in them."""
        self._read()
        key = _key_of(message)
        while len(self._ends) >= ENTRIES:
            oldest = next(iter(self._ends))
            del self._ends[oldest]
            self._running.discard(oldest)
        ends = self._ends.setdefault(key, 0)
        self._running.add(key)
        self._write()
        return ends

    def pause(self, message: Incoming) -> None:
        """Note that no handler runs; the message is not done."""
        self._running.discard(_key_of(message))
        self._write()

    def finish(self, message: Incoming) -> None:
        """Forget a message that is done."""
        key = _key_of(message)
        self._running.discard(key)
        self._ends.pop(key, None)
        self._write()

    def _read(self) -> None:
        if self._is_read or self._path is None:
            return
        self._is_read = True
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            known = json.loads(self._path.read_bytes())
            self._ends = {str(key): int(ends) for key, ends in known.items()}

    def _write(self) -> None:
        """Write the counts as they are if the process ends now."""
        if self._path is None:
            return
        counts = {key: ends + (key in self._running) for key, ends in self._ends.items()}
        try:
            if not counts:
                self._path.unlink(missing_ok=True)
                return
            scratch = self._path.with_suffix(".new")
            scratch.write_text(json.dumps(counts))
            scratch.rename(self._path)
        except OSError as exc:
            logger.warning("cannot write %s: %s", self._path.name, exc.strerror or exc)


def _key_of(message: Incoming) -> str:
    digest = hashlib.sha256(message.topic.encode() + b"\0" + message.payload)
    return digest.hexdigest()[: 2 * _KEY_BYTES]
