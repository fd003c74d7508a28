"""Images by URL, as archives for other nodes, under other names; and aliases of paths."""

import asyncio
import contextlib
import io
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx

from gateway.services.images.limits import ImageLimits
from gateway.services.images.rules import ImageRules
from tests import image_archives as made
from tests.integration.gateway.services.test_uploads import IMAGES, foreign, pack, refused
from tests.integration.gateway.services.world import world, write_service

Answer = Callable[[str], tuple[str, bytes]]  # path -> status line with headers, body


@contextlib.asynccontextmanager
async def http_server(answer: Answer) -> AsyncIterator[int]:
    """Run a server that answers each GET and hangs up; yield its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        head, body = answer(request.split()[1].decode())
        writer.write(f"HTTP/1.1 {head}\r\nconnection: close\r\n\r\n".encode() + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_an_image_is_pulled_by_its_url(tmp_path: Path) -> None:
    packed = foreign()

    def answer(path: str) -> tuple[str, bytes]:
        return {
            "/probe.tar": (f"200 OK\r\ncontent-length: {len(packed)}", packed),
            "/endless": ("200 OK", bytes(500_000)),
            "/large": ("200 OK\r\ncontent-length: 999999999", b""),
            "/cut": ("200 OK\r\ncontent-length: 9999", packed[:500]),
            "/moved": ("302 Found\r\nlocation: probe.tar\r\ncontent-length: 0", b""),
            "/circle": ("301 Moved\r\nlocation: /circle\r\ncontent-length: 0", b""),
            "/away": ("307 Moved\r\nlocation: http://localhost:1/x\r\ncontent-length: 0", b""),
            "/nowhere": ("302 Found\r\ncontent-length: 0", b""),
        }.get(path, ("404 Not Found\r\ncontent-length: 0", b""))

    rules = ImageRules(pull_hosts=("127.0.0.1", "*.0.0.2"))

    async def run() -> None:
        async with (
            http_server(answer) as port,
            world(tmp_path, rules=rules, image=ImageLimits(upload_bytes=300_000)) as here,
        ):

            async def pull(path: str, host: str = "127.0.0.1", **query: str) -> httpx.Response:
                url = f"http://{host}:{port}{path}"
                return await here.http.post(IMAGES, json={"url": url}, params=query)

            first = await pull("/probe.tar", mode="reference")
            assert first.status_code == 201, first.text
            assert (await pull("/moved")).json()["digest"] == first.json()["digest"]
            refused(await pull("/none"), 400, "127.0.0.1 answers with 404")
            refused(await pull("/endless"), 413, "over 300000")
            refused(await pull("/large"), 413, "it has 999999999 bytes")
            refused(await pull("/cut"), 400, "cannot pull image: 127.0.0.1")
            refused(await pull("/circle"), 400, "more than 5 redirects")
            refused(await pull("/away"), 400, "localhost is none of [services] pull_hosts")
            refused(await pull("/nowhere"), 400, "more than 5 redirects")
            refused(await pull("/x", "other"), 400, "other is none of")
            refused(await pull("/x", "127.0.0.2"), 400, "on this machine")
            assert len(list((tmp_path / "state/contents").iterdir())) == 1

    asyncio.run(run())


def test_an_archive_of_a_stored_image_is_the_same_image(tmp_path: Path) -> None:
    packed = pack(tmp_path / "src", data=b"x" * 100_000)

    async def run() -> None:
        async with world(tmp_path) as here:
            get, path = here.http.get, f"{IMAGES}/api-probe-v1"
            stored = (await here.http.post(IMAGES, content=packed)).json()
            archive = await get(f"{path}/tarball")
            assert archive.status_code == 200
            assert int(archive.headers["content-length"]) == len(archive.content)
            with tarfile.open(fileobj=io.BytesIO(archive.content)) as tar:
                assert "manifest.json" in tar.getnames()
            other = {"x-client-id": "other"}
            copied = await here.http.post(IMAGES, content=archive.content, headers=other)
            assert copied.json()["digest"] == stored["digest"]
            for wanted, part in {
                "bytes=0-99": archive.content[:100],
                "bytes=1000-60000": archive.content[1000:60_001],
                f"bytes={len(archive.content) - 9}-": archive.content[-9:],
                f"bytes=5-{10**9}": archive.content[5:],
            }.items():
                answer = await get(f"{path}/tarball", headers={"range": wanted})
                assert (answer.status_code, answer.content) == (206, part)
                assert answer.headers["etag"] == archive.headers["etag"]
                total = answer.headers["content-range"].partition("/")[2]
                assert total == str(len(archive.content))
            late = {"range": f"bytes={len(archive.content)}-"}
            refused(await get(f"{path}/tarball", headers=late), 416, "the archive has")
            refused(await get(f"{path}/tarball", headers=other), 404, "cannot find image")
            refused(await get(path, headers=other), 404, "cannot find image")
            refused(await get(f"{path}/tarball?hmac=x"), 403, "this node is in no account")
            refused(await get(f"{IMAGES}/nope/tarball"), 404, "cannot find image nope")

    asyncio.run(run())


def test_mims_are_containers(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            packed = pack(tmp_path / "src")
            await here.http.post(IMAGES, content=packed)
            body = {"name": "one", "image": "probe-v1", "clientId": "api"}
            made = await here.http.post("/mcm/v1/mims", json=body)
            assert made.status_code == 201, made.text
            listed = [(await here.http.get(f"/mcm/v1/{n}")).json() for n in ("mims", "containers")]
            assert listed[0] == listed[1] == {"data": [made.json()]}
            refused(
                await here.http.post("/mcm/v1/mims", json=body | {"clientId": "other"}),
                403, "cannot act for client 'other'",
            )  # fmt: skip
            refused(await here.http.post("/mcm/v1/mims/api-one/dataStore"), 501, "back up")
            stopped = await here.http.put("/mcm/v1/mims/api-one", json={"state": "stopped"})
            assert stopped.json()["state"] == "stopped"
            deleted = await here.http.delete("/mcm/v1/mims/api-one")
            assert deleted.json()["id"] == "api-one"
            assert (await here.http.get("/mcm/v1/containers")).json() == {"data": []}

    asyncio.run(run())


def test_aliases_lead_to_a_container_and_cannot_be_taken(tmp_path: Path) -> None:
    code = '@service.get("/a")\nasync def a(r): return {"at": r.headers["x-forwarded-prefix"]}\n'
    alias = {"MCM.API_ALIAS": "true"}

    async def run() -> None:
        async with world(tmp_path, rules=ImageRules(v1_paths=True)) as here:
            await here.upload(write_service(tmp_path / "src", code))
            made = await here.create("seen-v2", "probe-v1", alias | {"MCM.BASE_API_PATH": "/x/"})
            assert made.status_code == 201, made.text
            assert made.json()["env"]["MCM.BASE_API_PATH"] == "/api/x"
            for base in ("/api/x", "/api/seen/v2", "/x"):
                answer = await here.http.get(f"{base}/a")
                assert (answer.status_code, answer.json()) == (200, {"at": base})
            taken = await here.create("b", "probe-v1", {"MCM.BASE_API_PATH": "/seen/v2"})
            refused(taken, 409, "/api/seen/v2 overlaps with /api/seen/v2")
            own = await here.create("b", "probe-v1", {"MCM.BASE_API_PATH": "/mcm/v1"})
            refused(own, 409, "/mcm/v1 is a path of the gateway itself")
            plain = await here.create("seen-v2", "probe-v1", {"MCM.BASE_API_PATH": "/x"})
            assert plain.status_code == 200
            assert (await here.http.get("/api/seen/v2/a")).status_code == 404

    asyncio.run(run())


# case S16
def test_an_image_of_another_builder_without_a_manifest_runs(tmp_path: Path) -> None:
    code = b"mimikModule.exports = (context, request, response) => response.end('\"hello\"')\n"
    packed = made.docker_25([made.make_tar({"index.js": code})], "example-v1:latest")

    async def run() -> None:
        async with world(tmp_path) as here:
            stored = await here.http.post(IMAGES, files={"image": ("example.tar", packed)})
            assert (stored.status_code, stored.json()["name"]) == (201, "example-v1"), stored.text
            base = {"MCM.BASE_API_PATH": "/example/v1/", "MCM.API_ALIAS": "true"}
            base["MCM.RUNTIME"] = "wasm"
            container = await here.create("example-v1", "example-v1", base)
            assert container.status_code == 201, container.text
            echoed = container.json()["env"]
            assert echoed["MCM.BASE_API_PATH"] == "/api/example/v1"
            assert echoed["MCM.RUNTIME"] == "js"  # whatever was asked for
            assert (await here.http.get("/api/example/v1/")).json() == "hello"

    asyncio.run(run())
