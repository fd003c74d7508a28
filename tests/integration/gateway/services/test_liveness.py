"""A microservice that is blocked, or gone without a word, is noticed, ended and started again."""

import asyncio
from pathlib import Path

from tests.aio import until
from tests.integration.gateway.services.world import World, host_pid, world, write_service

CODE = """
import subprocess
NAMESPACE = os.readlink("/proc/self/ns/pid")
@service.get("/")
async def root(_): return {"pid": os.getpid(), "namespace": NAMESPACE}

@service.get("/spin")
async def spin(_):
    loop()

@service.get("/sleep/{seconds}")
async def rest(request):
    await asyncio.sleep(float(request["seconds"]))
    return {}

@service.get("/child")
async def child(_):
    started = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return {"pid": started.pid, "namespace": NAMESPACE}

@service.get("/orphan")
async def orphan(_):
    reader, writer = os.pipe()
    if not os.fork():
        os.setsid()
        if not os.fork():
            os.write(writer, str(os.getpid()).encode())
            time.sleep(1000)
        os._exit(0)
    return {"pid": int(os.read(reader, 20)), "namespace": NAMESPACE}

@service.get("/flood")
async def flood(_):
    for _ in range(1000):
        os.write(int(sys.argv[1]), b'{"at": "alive"}\\n')

@service.get("/exit")
async def leave(_):
    if not os.fork():  # has the control socket, the output and the HTTP socket open
        time.sleep(1000)
    os._exit(3)

def loop():
    open("spinning", "w").close()
    while True: pass
"""


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


async def ask(here: World, path: str) -> int:
    answer = await here.http.get(f"/api/probe/v1/{path}")
    seen = answer.raise_for_status().json()
    return host_pid(seen["namespace"], seen["pid"]) if seen else 0


# case G8
def test_a_blocked_service_is_ended_with_all_it_started_and_started_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, liveness_s=1.5) as here:
            await here.deploy(write_service(tmp_path / "src", CODE), "probe")
            pids = [await ask(here, path) for path in ("", "child", "orphan")]
            assert all(is_alive(pid) for pid in pids)
            spinning = asyncio.create_task(here.http.get("/api/probe/v1/spin"))
            await until(lambda: here.host.containers()[0].restarts == 1)
            cut = await spinning
            assert cut.status_code == 502
            assert cut.json()["detail"].endswith("its process ended, `hecate ps` says why")
            assert not any(is_alive(pid) for pid in pids)
            await until(lambda: here.state("api-probe") == "started")
            assert await ask(here, "") not in pids
            (shown,) = (await here.http.get("/mcm/v1/containers")).json()["data"]
            assert (shown["state"], shown["error"], shown["restarts"]) == ("started", "", 1)
            reason = shown["lastEnd"]["reason"]
            assert reason.startswith("it answered no control message for 1.5 s (blocked in serv")
            line = (tmp_path / "src/service.py").read_text().split("while True")[0].count("\n") + 1
            assert f"service.py, line {line})" in reason

    asyncio.run(run())


# case G8
def test_one_that_waits_is_not_taken_for_blocked(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, liveness_s=1.0) as here:
            await here.deploy(write_service(tmp_path / "src", CODE), "probe")
            await ask(here, "sleep/2.5")
            assert here.host.containers()[0].restarts == 0

    asyncio.run(run())


# case G8
def test_its_manifest_may_give_a_service_less_or_more_time(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, liveness_s=600.0) as here:
            toml = "[limits]\nliveness_s = 1\n"
            await here.deploy(write_service(tmp_path / "src", CODE, toml=toml), "probe")
            spinning = asyncio.create_task(here.http.get("/api/probe/v1/spin"))
            await until(lambda: here.host.containers()[0].restarts == 1)
            await spinning

    asyncio.run(run())


# case G8
def test_deploying_a_blocked_service_again_starts_it_anew(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, liveness_s=600.0, respond_s=0.2, stop_s=0.5) as here:
            await here.deploy(write_service(tmp_path / "src", CODE), "probe")
            before = await ask(here, "")
            spinning = asyncio.create_task(here.http.get("/api/probe/v1/spin"))
            await until((tmp_path / "state/containers/api-probe/data/spinning").exists)
            await here.deploy(tmp_path / "src", "probe")
            assert await ask(here, "") != before
            await until(lambda: not is_alive(before))
            assert (await spinning).status_code == 502

    asyncio.run(run())


# case G8
def test_a_blocked_service_can_be_stopped_and_removed(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, liveness_s=600.0, stop_s=0.3) as here:
            await here.deploy(write_service(tmp_path / "src", CODE), "probe")
            pids = [await ask(here, path) for path in ("", "child")]
            spinning = asyncio.create_task(here.http.get("/api/probe/v1/spin"))
            await until((tmp_path / "state/containers/api-probe/data/spinning").exists)
            one = "/mcm/v1/containers/api-probe"
            assert (await here.http.put(one, json={"state": "stopped"})).is_success
            assert not any(is_alive(pid) for pid in pids)
            await spinning
            assert (await here.http.delete(one)).is_success
            assert here.host.containers() == []

    asyncio.run(run())


# case G8
def test_the_end_of_a_process_is_noticed_though_its_child_lives(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", CODE), "probe")
            before = here.pid("api-probe")
            leaving = asyncio.create_task(here.http.get("/api/probe/v1/exit"))
            await until(lambda: here.host.containers()[0].restarts == 1)
            assert "it exited with status 3" in here.host.containers()[0].last_end
            await until(lambda: here.state("api-probe") == "started")
            assert await ask(here, "") != before
            await leaving
            directory = str(tmp_path / "state/containers/api-probe")
            assert count_in(directory) == 1

    asyncio.run(run())


# case G8
def test_one_that_floods_the_control_socket_is_ended(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", CODE), "probe")
            await here.http.get("/api/probe/v1/flood")
            await until(lambda: here.host.containers()[0].restarts == 1)
            assert "more than 100 reports in a second" in here.host.containers()[0].last_end

    asyncio.run(run())


# case G8
def test_what_a_process_leaves_in_its_folder_for_temporary_files_goes_with_it(
    tmp_path: Path,
) -> None:
    code = f"{CODE}\nopen(os.environ['TMPDIR'] + '/file', 'w').close()\n"

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", code), "probe")
            folder = tmp_path / "state/containers/api-probe/tmp"
            assert len(list(folder.glob("*/file"))) == 1
            await here.http.put("/mcm/v1/containers/api-probe", json={"state": "stopped"})
            assert list(folder.iterdir()) == []

    asyncio.run(run())


def count_in(directory: str) -> int:
    """Return how many processes work in a directory."""
    return sum(_works_in(process, directory) for process in Path("/proc").iterdir())


def _works_in(process: Path, directory: str) -> bool:
    try:
        return str((process / "cwd").readlink()).startswith(directory)
    except OSError:
        return False
