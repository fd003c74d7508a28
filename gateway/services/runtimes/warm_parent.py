"""Starts the warm parent when it is needed, and asks it for processes."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.services.runtimes.port import ProcessError
from microservice.errors import ControlError
from microservice.isolation.spec import (
    Abilities,
    Preparation,
    decode_abilities,
    decode_forked,
    encode_preparation,
)

logger = logging.getLogger(__name__)

ANSWER_BYTES = 4096
START_S = 30.0  # importing the kit takes seconds on the slowest board
ANSWER_S = 10.0  # a fork takes milliseconds; a machine that swaps may take longer
TRIES = 2  # a warm parent that died is noticed when it is asked


class WarmParent:
    """One process that forks all containers of a gateway; started at the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder  # an empty one, on which roots are built
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._abilities = Abilities()
        self._one_at_a_time = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The process id; None while there is none."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    async def abilities(self) -> Abilities:
        """Return the means of isolation that it found to be possible; starts it if needed."""
        async with self._one_at_a_time:
            await self._ensure()
            return self._abilities

    async def fork(self, cgroups: tuple[str, ...], descriptors: Sequence[int]) -> tuple[int, int]:
        """Return pid and pidfd of a new process that stands by; ProcessError if there is none.

        Args:
            cgroups: the folders of its cgroups.
            descriptors: the socket for its launch, and its lifeline.
        """
        request = encode_preparation(Preparation(cgroups))
        async with self._one_at_a_time:
            for last in range(TRIES):
                connection = await self._ensure()
                try:
                    socket.send_fds(connection, [request], list(descriptors))
                    async with asyncio.timeout(ANSWER_S):
                        data, pidfd = await _receive(connection)
                    forked = decode_forked(data)
                except (OSError, TimeoutError, ControlError) as exc:
                    self.close()
                    if last == TRIES - 1:
                        raise ProcessError(
                            f"cannot make a process: the warm parent failed ({exc!r})"
                        ) from exc
                    logger.warning("the warm parent failed (%r); starting another", exc)
                except asyncio.CancelledError:
                    self.close()  # its answer would be taken for that to the next request
                    raise
                else:
                    if forked.error or pidfd is None:
                        raise ProcessError(f"cannot make a process: {forked.error}")
                    return forked.pid, pidfd
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End it; containers that are left end by their own lifelines."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()  # a killed process with few pages is gone at once
            self._process = None

    async def _ensure(self) -> socket.socket:
        """Return the socket to a warm parent that runs."""
        if self.pid is not None and self._socket is not None:
            return self._socket
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                # by this thread, not by a helper: its end would end the process (PR_SET_PDEATHSIG)
                self._process = subprocess.Popen(  # noqa: ASYNC220, S603  # our own module
                    [sys.executable, "-Iu", "-m", "microservice.warm_parent",
                     str(theirs.fileno()), str(self._folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                    env=_environment(),
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )  # fmt: skip
            except OSError:
                ours.close()
                raise
        try:
            async with asyncio.timeout(START_S):
                data, _ = await _receive(ours)
            self._abilities = decode_abilities(data)
        except (OSError, TimeoutError, ControlError) as exc:
            ours.close()
            self.close()
            raise ProcessError(f"cannot start the warm parent: {exc!r}") from exc
        self._socket = ours
        return ours


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _receive(connection: socket.socket) -> tuple[bytes, int | None]:
    """Return one message and the descriptor in it."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, _set, readable)
    try:
        await readable
    finally:
        loop.remove_reader(connection)
    data, descriptors, _, _ = socket.recv_fds(connection, ANSWER_BYTES, 1)
    if not data:
        raise ConnectionResetError("it has ended")
    return data, next(iter(descriptors), None)


def _environment() -> dict[str, str]:
    environment = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        # each further arena reserves 128 MiB of address space, which is what is limited
        "MALLOC_ARENA_MAX": "1",
    }
    return environment | {name: os.environ[name] for name in ("TZ",) if name in os.environ}
