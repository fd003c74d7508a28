"""Runs microservices with less of a kernel, or with less rights; prints the isolation found.

Modes: best, strict, manifest (without cgroups and Landlock), confined (root that may make no
namespace), user (nobody special).
"""

import asyncio
import ctypes
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

from gateway.services.runtimes.isolation import IsolationPolicy
from microservice.isolation.seccomp import assemble, build_refusal, install
from microservice.isolation.syscall_table import table_of
from tests.integration.gateway.services.world import world, write_service

LANDLOCK = (444, 445, 446)
NOBODY = 60_000
CODE = """
@service.get("/")
async def root(_): return {}
"""


def take_away(mode: str) -> None:
    """Become a process on a lesser system."""
    if mode in ("best", "strict", "manifest"):
        subprocess.run(["umount", "-R", "/sys/fs/cgroup"], check=True)
        install(assemble(build_refusal(LANDLOCK, errno.ENOSYS)))
    elif mode == "confined":
        table = table_of(os.uname().machine, ctypes.sizeof(ctypes.c_void_p))
        assert table is not None
        install(assemble(build_refusal([table.named["unshare"]], errno.EPERM)))
    elif mode == "user":
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


async def main(folder: Path, mode: str) -> None:
    settings = IsolationPolicy(strict=mode == "strict")
    toml = '[isolation]\nrequire = ["memory"]\n' if mode == "manifest" else ""
    async with world(folder, settings) as here:
        uploaded = await here.upload(write_service(folder / "src", CODE, toml=toml))
        assert uploaded.is_success, uploaded.text
        made = await here.create("probe", "probe-v1")
        if made.is_success:
            assert (await here.http.get("/api/probe/v1/")).status_code == 200
            path = "/mcm/v1/containers/api-probe/security"
            answer = (await here.http.get(path)).json()
        else:
            answer = made.json()
    print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    take_away(sys.argv[2])
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
