"""The mCM API's shapes and refusals."""

import asyncio
import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

from gateway.services.images.limits import ImageLimits
from gateway.services.images.pack import pack_image, packed_digest
from tests.integration.gateway.services.world import CLIMATE, world, write_service

GOOD = '\n@service.get("/")\nasync def root(_): return {}\n'


def test_image_and_container_objects_have_the_known_fields(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            now = time.time()
            image = (await here.upload(CLIMATE)).json()
            assert image.pop("digest") == packed_digest(pack_image(CLIMATE))
            assert abs(image.pop("created") - now) < 60
            assert image.pop("size") == len(pack_image(CLIMATE))
            assert image == {
                "id": "api-climate-v1",
                "name": "climate-v1",
                "repoTags": ["climate-v1:latest"],
                "signedBy": [],
            }
            listed = (await here.http.get("/mcm/v1/images")).json()
            assert [i["id"] for i in listed["data"]] == ["api-climate-v1"]

            body = json.dumps(
                {"name": "climate", "image": "climate-v1", "env": {"MCM.BASE_API_PATH": "/c/v2/"}}
            )
            created = await here.http.post(
                "/mcm/v1/containers",
                content=body,
                headers={"content-type": "application/x-www-form-urlencoded"},
            )
            assert created.status_code == 201
            container = created.json()
            assert abs(container.pop("created") / 1000 - now) < 60
            assert abs(container.pop("startedAt") / 1000 - now) < 60
            assert container == {
                "id": "api-climate",
                "clientId": "api",
                "name": "climate",
                "image": "climate-v1",
                "imageId": "api-climate-v1",
                "env": {"MCM.BASE_API_PATH": "/api/c/v2"},
                "state": "started",
                "error": "",
                "version": 1,
                "waiting": 0,
                "note": "",
                "restarts": 0,
                "nextTry": 0,
                "lastEnd": {"reason": "", "at": 0},
                "handled": 0,
                "failed": 0,
                "dropped": 0,
                "retried": 0,
                "overdue": 0,
                "messages": {"waiting": 0, "inFlight": 0, "held": 0, "flow": "flowing"},
                "deadLetters": {"kept": 0, "dropped": 0},
                "settings": {},
                "secrets": [],
            }
            assert (await here.http.get("/api/c/v2/rooms")).status_code == 200
            (service,) = here.host.services()
            assert (service.service_id, service.path) == ("api-climate", "/api/c/v2")

    asyncio.run(run())


def test_clients_see_and_touch_their_own_only(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(CLIMATE, "climate")
            other = {"x-client-id": "other"}
            assert (await here.http.get("/mcm/v1/images", headers=other)).json() == {"data": []}
            assert (await here.http.get("/mcm/v1/containers", headers=other)).json() == {"data": []}
            for path in ("images/api-climate-v1", "containers/api-climate"):
                gone = await here.http.delete(f"/mcm/v1/{path}", headers=other)
                assert gone.status_code == 404
            await here.upload(CLIMATE, "other")
            assert (await here.create("climate", "climate-v1", client_id="other")).is_success
            assert (await here.http.get("/other/climate/v1/rooms")).status_code == 200

    asyncio.run(run())


def refused(status: int, why: str, response: Any) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert why in response.json()["detail"]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            post = here.http.post
            await here.deploy(CLIMATE, "climate")
            refused(404, "cannot find image with name 'x'", await here.create("x", "x"))
            for body, why in (
                (b"{", "not JSON"),
                (b"[]", "not an object"),
                (b'{"name": "x"}', "needs texts name and image"),
                (b'{"name": "x", "image": "climate-v1", "env": {"a": 1}}', "env must hold texts"),
                (b'{"name": "../x", "image": "climate-v1"}', "cannot name a container"),
                (b'{"name":"x","image":"climate-v1","env":{"MCM.BASE_API_PATH":"/.."}}', "base"),
            ):
                response = await post("/mcm/v1/containers", content=body)
                refused(400, why, response)
            refused(413, "over", await post("/mcm/v1/containers", content=bytes(200_000)))
            overlap = await here.create("x", "climate-v1", {"MCM.BASE_API_PATH": "/climate"})
            refused(409, "overlaps with /api/climate/v1", overlap)
            in_use = await here.http.delete("/mcm/v1/images/api-climate-v1")
            refused(409, "api-climate uses it", in_use)
            assert [c.id for c in here.host.containers()] == ["api-climate"]

    asyncio.run(run())


def test_hostile_uploads_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    limits = ImageLimits(upload_bytes=300_000)

    async def run() -> None:
        async with world(tmp_path, image=limits) as here:
            post = here.http.post
            refused(400, "no image received", await post("/mcm/v1/images"))
            refused(400, "no image received", await post("/mcm/v1/images", data={"image": "x"}))
            hostile = {
                "not a tar": b"hello" * 1000,
                "no file manifest.json": _tar({"a": b"b"}),
                "not a path inside": _image({"../../x": b""}),
                "link": _image({}, link="service.py"),
                "wasm runtime": _image(
                    {"index.wasm": b"", "microservice.toml": b'name = "x"'}, tag="x-v1"
                ),
            }
            for why, packed in hostile.items():
                response = await post("/mcm/v1/images", files={"image": ("x.tar", packed)})
                refused(400, why, response)
            large = await post("/mcm/v1/images", files={"image": ("x.tar", bytes(400_000))})
            refused(413, "over", large)
            assert list((tmp_path / "state/contents").iterdir()) == []
            assert (await here.http.get("/mcm/v1/images")).json() == {"data": []}

    asyncio.run(run())


def test_deployments_that_overlap_in_time_do_not_share_a_path(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            for name in ("one", "two"):
                write_service(tmp_path / name, GOOD, name=name)
                await here.upload(tmp_path / name)
            for base, succeeds in (("/new", 201), ("/changed", 200)):
                same = {"MCM.BASE_API_PATH": base}
                answers = await asyncio.gather(
                    here.create("one", "one-v1", same), here.create("two", "two-v1", same)
                )
                assert sorted(a.status_code for a in answers) == [succeeds, 409]
                for name in ("one", "two"):
                    await here.create(name, f"{name}-v1")  # each at its own path again

    asyncio.run(run())


def _tar(files: dict[str, bytes], link: str = "") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
    return packed.getvalue()


def _image(files: dict[str, bytes], *, link: str = "", tag: str = "climate-v1") -> bytes:
    entry = [{"RepoTags": [f"{tag}:latest"], "Layers": ["layer.tar"]}]
    layer = _tar(files, link)
    return _tar({"layer.tar": layer, "manifest.json": json.dumps(entry).encode()})
