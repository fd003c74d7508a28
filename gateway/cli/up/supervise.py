"""Runs parts until their work ends, one of them dies, or a signal comes."""

import asyncio
import signal
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gateway.cli.up.progress import StartProgress
from gateway.cli.up.suggestions import shell_word

if TYPE_CHECKING:
    from gateway.cli.errors import CliError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXPLAIN_S = 0.5  # for the end of a part, which explains more than the call that it made fail


class ChildParts(Protocol):
    """Child processes that are started and ended together."""

    died: "asyncio.Future[CliError]"  # done when one of them ends by itself

    async def stop(self) -> None:
        """End all, gently at first."""

    def kill(self) -> None:
        """End all at once."""


async def supervise(
    parts: ChildParts, work: Awaitable[None], progress: StartProgress, state: Path
) -> None:
    """Do the work, then end all parts; CliError when the work or a part fails."""
    signalled = asyncio.Event()

    def take() -> None:
        if signalled.is_set():
            parts.kill()  # a second signal ends the wait
        signalled.set()

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, take)
    working = asyncio.ensure_future(work)
    waiting = asyncio.create_task(signalled.wait(), name="signals")
    try:
        await asyncio.wait((working, waiting, parts.died), return_when=asyncio.FIRST_COMPLETED)
        if working.done() and working.exception() is not None:
            await asyncio.wait((parts.died,), timeout=EXPLAIN_S)
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
        with progress.ending():
            await parts.stop()
    if parts.died.done() and not signalled.is_set():
        raise parts.died.result()
    if not working.cancelled():
        working.result()
    progress.line(f"ended; state is kept in {shell_word(state, Path.home())}")
