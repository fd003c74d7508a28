"""Runs once, while a process stands by, what its launch will run.

The first run in a fork copies each page that it writes to, and that takes a third of a launch.
"""

import asyncio
import socket

from microservice.control import decode_report, encode_report
from microservice.isolation.cgroup_files import CgroupFiles
from microservice.isolation.landlock import landlock_abi, writable_rights
from microservice.isolation.probe import Outside, probe
from microservice.isolation.spec import ContainerSpec, decode_spec, encode_spec

_NOWHERE = "/nonexistent"


def rehearse(cgroups: CgroupFiles, outside: Outside) -> None:
    """Decode, probe, encode and read from a socket, without an effect that stays."""
    spec = ContainerSpec("rehearsal", _NOWHERE, _NOWHERE, _NOWHERE, _NOWHERE)
    found = probe(decode_spec(encode_spec(spec)), cgroups, outside, (False, ""))
    decode_report(encode_report(found))
    writable_rights(landlock_abi())
    asyncio.run(_read_and_write())


async def _read_and_write() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    theirs.send(b"\n")
    await reader.readline()
    writer.write(b"\n")
    writer.close()
    theirs.close()
