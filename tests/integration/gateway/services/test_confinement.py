"""Checks the bounds of a container's process: denied actions, and facts that it cannot learn."""

import asyncio
import os
from pathlib import Path

from tests.aio import until
from tests.integration.gateway.services.world import Person, World, host_pid, world, write_service

PROBE = """
@service.get("/environment")
async def environment(_):
    return {"env": dict(os.environ), "argv": sys.argv, "cwd": os.getcwd(),
            "umask": os.umask(0o077), "fds": sorted(os.listdir("/proc/self/fd")),
            "status": open("/proc/self/status").read(), "session": os.getsid(0) == os.getpid()}

@service.get("/eat")
async def eat(_): return {"size": len(bytearray(500_000_000))}

@service.get("/fail")
async def fail(_): raise ValueError("secret detail")

@service.get("/slow")
async def slow(_): await asyncio.sleep(60)

@service.get("/die")
async def die(_): os._exit(1)

@service.get("/cut")
async def cut(_):
    async def chunks():
        yield b"begin"
        raise ValueError("in the middle")
    return Response(chunks())

@service.get("/endless")
async def endless(_):
    async def chunks():
        try:
            while True:
                yield bytes(1000)
                await asyncio.sleep(0.01)
        finally:
            open("closed", "w").close()
    return Response(chunks())

@service.get("/spawn")
async def spawn(_):
    child = await asyncio.create_subprocess_exec("sleep", "1000")
    return {"pid": child.pid, "namespace": os.readlink("/proc/self/ns/pid")}

@service.get("/info")
async def info(request):
    i = service.info
    return {"info": [i.container_id, i.service_type, i.api_root, i.node_id, i.account_id],
            "key": service.env["KEY"], "headers": dict(request.headers), "path": request.path,
            "query": dict(request.query)}

@service.get("/publish")
async def publish(request):
    try:
        await service.publish(request.query["topic"], "x")
    except PublishError as exc:
        return {"error": str(exc)}
    return {}

@service.get("/quick")
async def quick(request):
    for n in range(2000):
        await service.publish("allowed/quick", {"n": n}, qos=0)
    return {}

@service.get("/force")
async def force(request):
    try:
        await service._sink._link.publish(request.query["topic"], b"1", 1, False)
    except PublishError as exc:
        return {"error": str(exc)}
    return {}

@service.on("allowed/in")
async def received(_): ...
"""
MQTT = '[mqtt]\nsubscribe = ["allowed/#"]\npublish = ["allowed/#"]\n[limits]\nmemory_mib = 64\n'


async def _deploy(here: World, directory: Path) -> None:
    uploaded = await here.upload(write_service(directory, PROBE, toml=MQTT))
    assert uploaded.is_success, uploaded.text
    created = await here.create("probe", "probe-v1", {"KEY": "value"})
    assert created.is_success, created.text


def test_a_process_knows_little_and_may_do_little(tmp_path: Path) -> None:
    os.environ["HECATE_TEST_SECRET"] = "hush"

    async def run() -> None:
        async with world(tmp_path) as here:
            await _deploy(here, tmp_path / "src")
            seen = (await here.http.get("/api/probe/v1/environment")).json()
            known = {"PATH", "HOME", "TMPDIR", "LANG", "TZ", "MALLOC_ARENA_MAX", "LC_CTYPE"}
            assert set(seen["env"]) <= known
            assert "KEY" not in seen["env"]
            assert seen["argv"][0] == "microservice.entry"
            assert seen["cwd"] == str(tmp_path / "state/containers/api-probe/data")
            assert seen["umask"] == 0o077
            assert seen["session"]
            assert "NoNewPrivs:\t1" in seen["status"]

    try:
        asyncio.run(run())
    finally:
        del os.environ["HECATE_TEST_SECRET"]


def test_a_handler_that_takes_too_much_memory_fails_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await _deploy(here, tmp_path / "src")
            pid = here.pid("api-probe")
            eaten = await here.http.get("/api/probe/v1/eat")
            assert eaten.status_code == 500
            await until(lambda: "MemoryError" in here.log("api-probe"))
            assert here.pid("api-probe") == pid

    asyncio.run(run())


def test_faults_of_handlers_are_problems_and_show_no_details(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, handler_s=0.2, answer_s=5.0) as here:
            await _deploy(here, tmp_path / "src")
            get = here.http.get
            failed = await get("/api/probe/v1/fail")
            assert failed.status_code == 500
            assert failed.headers["content-type"] == "application/problem+json"
            assert "secret" not in failed.text
            await until(lambda: "ValueError: secret detail" in here.log("api-probe"))
            assert (await get("/api/probe/v1/slow")).status_code == 504
            wrong = await here.http.post("/api/probe/v1/fail")
            assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
            assert (await here.http.head("/api/probe/v1/info")).status_code == 200

    asyncio.run(run())


def test_the_gateway_answers_for_a_process_that_does_not(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, answer_s=1.0) as here:
            await _deploy(here, tmp_path / "src")
            get = here.http.get
            slow = await get("/api/probe/v1/slow")
            assert slow.status_code == 504
            assert "no answer in 1 s" in slow.json()["detail"]
            died = await get("/api/probe/v1/die")
            assert died.status_code == 502
            assert died.headers["content-type"] == "application/problem+json"
            await until(lambda: here.state("api-probe") == "restarting")
            away = await get("/api/probe/v1/info")
            assert away.status_code == 503
            await until(lambda: here.state("api-probe") == "started")
            assert (await get("/api/probe/v1/info")).status_code == 200

    asyncio.run(run())


def test_a_stream_ends_when_its_client_goes(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await _deploy(here, tmp_path / "src")
            async with here.http.stream("GET", "/api/probe/v1/endless") as response:
                await anext(response.aiter_raw())
            closed = tmp_path / "state/containers/api-probe/data/closed"
            await until(closed.exists)

    asyncio.run(run())


def test_too_many_requests_at_once_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, requests=2) as here:
            await _deploy(here, tmp_path / "src")
            url = "/api/probe/v1/endless"
            async with here.http.stream("GET", url) as one, here.http.stream("GET", url) as two:
                assert (one.status_code, two.status_code) == (200, 200)
                refused = await here.http.get("/api/probe/v1/info")
                assert refused.status_code == 503
            await until(lambda: not here.host._proxy.open_requests())
            assert (await here.http.get("/api/probe/v1/info")).status_code == 200

    asyncio.run(run())


def test_what_a_process_started_ends_with_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await _deploy(here, tmp_path / "src")
            spawned = (await here.http.get("/api/probe/v1/spawn")).json()
            pid = host_pid(spawned["namespace"], spawned["pid"])
            assert _runs(pid)
            await here.http.delete("/mcm/v1/containers/api-probe")
            await until(lambda: not _runs(pid))

    asyncio.run(run())


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_requests_arrive_without_the_base_and_with_forwarded_headers(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await _deploy(here, tmp_path / "src")
            seen = (
                await here.http.get(
                    "/api/probe/v1/info?a=1&b=x%20y",
                    headers={"x-forwarded-for": "6.6.6.6", "x-forwarded-prefix": "/evil"},
                )
            ).json()
            assert seen["info"] == [
                "api-probe", "api-probe", "/api/probe/v1", "0" * 56, "account",
            ]  # fmt: skip
            assert (seen["key"], seen["path"]) == ("value", "/info")
            assert seen["query"] == {"a": "1", "b": "x y"}
            assert seen["headers"]["x-forwarded-prefix"] == "/api/probe/v1"
            assert seen["headers"]["x-forwarded-host"] == "gateway"
            assert "6.6.6.6" not in str(seen["headers"])

    asyncio.run(run())


def test_topics_outside_the_manifest_are_closed(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await _deploy(here, tmp_path / "src")
            get = here.http.get
            with Person(here.mqtt_port) as person:
                await person.subscribe("#")
                allowed = await get("/api/probe/v1/force?topic=allowed/x")
                assert allowed.json() == {}
                await until(lambda: person.got)
                kit = await get("/api/probe/v1/publish?topic=other/x")
                assert "not in [mqtt] publish of microservice.toml" in kit.json()["error"]
                broker = await get("/api/probe/v1/force?topic=other/x")
                assert "cannot publish to other/x: not authorized" in broker.json()["error"]
                assert {topic for topic, _ in person.got} == {"allowed/x"}

    asyncio.run(run())


def test_qos_0_goes_out_without_waiting_for_answers(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await _deploy(here, tmp_path / "src")
            with Person(here.mqtt_port) as person:
                await person.subscribe("allowed/#")
                assert (await here.http.get("/api/probe/v1/quick")).status_code == 200
                await until(lambda: len(person.got) == 2000)
            assert [value["n"] for _, value in person.got] == list(range(2000))

    asyncio.run(run())


def test_a_wrong_password_is_no_container(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await _deploy(here, tmp_path / "src")
            assert here.host.authenticate("container:api-probe", b"guess") is None
            assert here.host.authenticate("container:api-other", b"") is None
            assert here.host.authenticate("api-probe", b"") is None

    asyncio.run(run())
