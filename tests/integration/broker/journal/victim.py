"""Stores numbers until it is killed, and prints each that is safe: run by test_kill.py."""

import asyncio
import functools
import os
import sys
from pathlib import Path

from broker.journal import Journal, JournalLimits
from broker.journal.records import Acknowledged, Opened, QueueEntry, Stored

LIMITS = JournalLimits(segment_bytes=64 * 1024)
KEPT = 50  # messages that are stored and not removed


def say(*words: str) -> None:
    os.write(1, " ".join(words).encode() + b"\n")


def say_safe(number: int, ok: bool) -> None:
    assert ok
    say("safe", str(number))


async def main(directory: Path) -> None:
    journal = Journal(directory, limits=LIMITS)
    image, _ = journal.open()
    bodies = image.bodies or {}
    queue = list(image.sessions[1].queue) if 1 in image.sessions else []
    say("queue", *(f"{each}:{bodies[each].payload.decode()}" for each in queue))
    retained = [bodies[image.retained[topic]].payload.decode() for topic in image.retained]
    say("retained", *retained)
    number = image.next_message_id
    journal.start()
    journal.append([Opened(1, "c", "o", (), 5, 1e9)])
    while True:
        number += 1
        payload = str(number).encode()
        kept = Stored(number, "t", payload, is_retained=True, entries=(QueueEntry(1, 1),))
        journal.append([kept], functools.partial(say_safe, number))
        queue.append(number)
        if len(queue) > KEPT:
            removed, queue = queue[: KEPT // 2], queue[KEPT // 2 :]
            say("gone", str(removed[-1]))
            journal.append([Acknowledged(1, tuple(removed))])
        await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
