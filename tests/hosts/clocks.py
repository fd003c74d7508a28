"""Runs gateways with a wall clock of their own, by libfaketime; the monotonic clock is real."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.gateways import HostGateway
from tests.hosts.network import Host

LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


def find_library() -> str:
    """Return the path of libfaketime; skip without it, which CI must have."""
    found = [path for pattern in LIBRARIES for path in Path("/").glob(pattern.lstrip("/"))]
    if not found:
        if os.environ.get("CI"):
            pytest.fail("needs libfaketime (Debian package faketime)")
        pytest.skip("needs libfaketime (Debian package faketime)")
    return str(found[0])


class ClockGateway(HostGateway):
    """A gateway whose wall clock a test sets."""

    def __init__(self, host: Host, folder: Path, clock: str = "+0") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._clock = folder / "clock"
        self.set_clock(clock)
        super().__init__(
            host,
            folder / "state",
            LD_PRELOAD=find_library(),
            FAKETIME_TIMESTAMP_FILE=str(self._clock),
            FAKETIME_CACHE_DURATION="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            FAKETIME_DONT_RESET="1",
        )

    def set_clock(self, clock: str) -> None:
        """Set the wall clock: "+3600" is an hour late, "-1h" an hour early."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(clock + "\n")
        fresh.rename(self._clock)


def start_with_clocks(stack: ExitStack, hosts: list[Host], folder: Path) -> list[ClockGateway]:
    """Start a gateway with a settable clock on each host; the stack ends them."""
    assert shutil.which("faketime") or find_library()
    return [stack.enter_context(ClockGateway(host, folder / host.name)) for host in hosts]
