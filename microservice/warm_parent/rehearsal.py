"""Runs once, while a process stands by, what its launch will run.

The first run in a fork copies each page that it writes to, and that takes a third of a launch.
"""

import asyncio
import contextlib
import importlib.util
import os
import socket
from pathlib import Path

from microservice.control import (
    Doing,
    Launch,
    Login,
    decode_launch,
    decode_report,
    encode_launch,
    encode_report,
)
from microservice.info import Info
from microservice.isolation.cgroup_files import CgroupFiles
from microservice.isolation.landlock import landlock_abi, writable_rights
from microservice.isolation.limits import mapped_bytes
from microservice.isolation.probe import Outside, probe
from microservice.isolation.seccomp import install
from microservice.isolation.spec import ContainerSpec, decode_spec, encode_spec
from microservice.outbound import ContainerNetwork
from microservice.service import Service

_NOWHERE = "/nonexistent"
_CODE = "from pathlib import Path\nasync def f(a, *b, c=1, **d):\n    return [x for x in b if x]\n"


def rehearse(cgroups: CgroupFiles, outside: Outside) -> None:
    """Decode, probe, encode, load and read from a socket, without an effect that stays."""
    spec = ContainerSpec("rehearsal", _NOWHERE, _NOWHERE, _NOWHERE, _NOWHERE)
    found = probe(decode_spec(encode_spec(spec)), cgroups, outside, (False, ""))
    decode_report(encode_report(found))
    encode_report(Doing(""))
    decode_launch(encode_launch(Launch(_NOWHERE, 0, Info(), login=Login("", "", ""))))
    ContainerNetwork("")
    writable_rights(landlock_abi())
    mapped_bytes()
    with contextlib.suppress(OSError):
        install(b"")  # the kernel refuses an empty filter
    os.environ.update({_NOWHERE: ""})
    del os.environ[_NOWHERE]
    _load()
    asyncio.run(_read_and_write())


def _load() -> None:
    """Find, compile and run a module."""
    exec(compile(_CODE, _NOWHERE, "exec"), {})  # noqa: S102  # a constant
    file = Path(__file__).with_name("__init__.py")
    spec = importlib.util.spec_from_file_location("rehearsal", file)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    Service()


async def _read_and_write() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    theirs.send(b"\n")
    await reader.readline()
    writer.write(b"\n")
    writer.close()
    theirs.close()
