"""Uploads in all ways, by real clients over a socket, and what is left of those that fail."""

import asyncio
import base64
import contextlib
import gzip
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.services.api.uploads import AT_ONCE
from gateway.services.images.limits import MIB, ImageLimits
from gateway.services.images.pack import pack_image, sign_packed
from gateway.services.images.rules import ImageRules
from gateway.services.images.signature import format_key
from tests import image_archives as made
from tests.aio import until
from tests.integration.gateway.services.world import World, world, write_service

IMAGES = "/mcm/v1/images"
CODE = '@service.get("/")\nasync def root(_): return {"version": VERSION}\n'


def pack(directory: Path, version: int = 1, name: str = "probe", data: bytes = b"") -> bytes:
    write_service(directory, f"VERSION = {version}\n{CODE}", name=name)
    (directory / "data.bin").write_bytes(data)
    return pack_image(directory)


def foreign(code: bytes = b"") -> bytes:
    """Return an image that another builder has made."""
    files = {"service.py": code, "microservice.toml": b'name = "probe"\n'}
    return made.oci_layout([made.make_tar(files)], how="zstd")


async def pieces(packed: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(packed), size):
        yield packed[start : start + size]


def refused(response: httpx.Response, status: int, why: str) -> None:
    assert response.status_code == status, response.text
    problem = response.json()
    assert why in problem["detail"], problem
    # known clients read one of these
    assert problem["message"] == problem["error"]["message"] == problem["detail"]
    assert problem["code"] == status


def nameless_files(folder: Path) -> int:
    """Count the open files of this process on a folder that have no name."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            path = str(descriptor.readlink())
            count += path.startswith(str(folder)) and path.endswith("(deleted)")
    return count


def test_an_image_may_be_sent_in_any_way(tmp_path: Path) -> None:
    packed = pack(tmp_path / "src", data=os.urandom(300_000))
    text = base64.b64encode(packed).decode()
    url_safe = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    form = {"content-type": "application/x-www-form-urlencoded"}
    ways: dict[str, dict[str, Any]] = {
        "form": {"files": {"image": ("x.tar", packed)}},
        "form with other fields": {"data": {"a": "b"}, "files": {"image": ("x.tar", packed)}},
        "tar": {"content": packed, "headers": {"content-type": "application/x-tar"}},
        "octets": {"content": packed, "headers": {"content-type": "application/octet-stream"}},
        "octets in chunks": {"content": pieces(packed)},
        "a compressed tar": {"content": gzip.compress(packed)},
        "JSON": {"json": {"base64Image": text}},
        "JSON with a wrong type": {"content": json.dumps({"base64Image": text}), "headers": form},
        "JSON without a type": {"content": f' \n{{"a": [1], "base64Image" : "{text}"}}'.encode()},
        "JSON in chunks": {"content": pieces(json.dumps({"base64Image": text}).encode())},
        "JSON, base64url": {"json": {"base64Image": url_safe}},
        "JSON, a data URL": {"json": {"base64Image": f"data:application/x-tar;base64,{text}"}},
        "JSON, escaped": {"content": b'{"base64Image":"%s"}' % text.replace("/", "\\/").encode()},
        "compressed on the way": {
            "content": gzip.compress(packed),
            "headers": {"content-encoding": "gzip"},
        },
        "a mode": {"params": {"mode": "payload"}, "files": {"image": ("x.tar", packed)}},
    }

    async def run() -> None:
        async with world(tmp_path) as here:
            digests = set()
            for name, request in ways.items():
                response = await here.http.post(IMAGES, **request)
                assert response.status_code == 201, (name, response.text)
                digests.add(response.json()["digest"])
            assert len(digests) == 1
            assert (await here.create("probe", "probe-v1")).status_code == 201
            assert (await here.http.get("/api/probe/v1/")).json() == {"version": 1}

    asyncio.run(run())


def test_what_is_no_image_is_refused_with_its_reason(tmp_path: Path) -> None:
    bad: list[tuple[int, str, dict[str, Any]]] = [
        (400, "no image received", {}),
        (400, "no image received", {"data": {"image": "x"}}),
        (400, "no image received", {"json": {}}),
        (400, "no image received", {"json": {"url": 1}}),
        (400, "no image received", {"files": {"other": ("x.tar", b"x")}}),
        (400, "not JSON", {"content": b'{"base64Image": "AAAA"'}),
        (400, "not base64", {"content": b'{"base64Image": "A*=="}'}),
        (400, "not whole base64", {"content": b'{"base64Image": "AAAAA"}'}),
        (400, "base64Image is not base64", {"content": b'{"base64Image": "AA==AAAA"}'}),
        (400, "is in it twice", {"content": b'{"base64Image": "", "base64Image": "AAAA"}'}),
        (400, "bytes beside", {"json": {"x": "y" * 70_000}}),
        (400, "not a tar", {"content": b"x" * 5000}),
        (400, "mode must be payload or reference", {"params": {"mode": "other"}, "content": b"x"}),
        (400, "none of [services] pull_hosts", {"json": {"url": "http://127.0.0.1/x"}}),
        (400, "cut off", {"content": gzip.compress(foreign())[:-9]}),
        (400, "gzip data is cut", {"content": gzip.compress(b"x" * 999)[:-9],
                                   "headers": {"content-encoding": "gzip"}}),
        (400, "not gzip", {"content": b"xyz", "headers": {"content-encoding": "gzip"}}),
        (415, "encoding is br", {"content": b"x", "headers": {"content-encoding": "br"}}),
        (400, "cannot read form", {"content": b"x",
                                   "headers": {"content-type": "multipart/form-data"}}),
        (400, "cannot read form", {"content": b"--x\r\n\r\n",
                                   "headers": {"content-type": "multipart/form-data; boundary=x"}}),
        (413, "over", {"content": bytes(400_000)}),
        (413, "over", {"content": pieces(bytes(600_000))}),
        (413, "over", {"content": gzip.compress(bytes(600_000)),
                       "headers": {"content-encoding": "gzip"}}),
    ]  # fmt: skip

    async def run() -> None:
        async with world(tmp_path, image=ImageLimits(upload_bytes=300_000)) as here:
            for status, why, request in bad:
                refused(await here.http.post(IMAGES, **request), status, why)
            assert list((tmp_path / "state/contents").iterdir()) == []
            assert nameless_files(tmp_path) == 0

    asyncio.run(run())


async def _raw(here: World, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(here.api_socket)
    writer.write(head)
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("kind", ["form", "tar", "json"])
def test_an_upload_that_is_cut_leaves_nothing(tmp_path: Path, kind: str) -> None:
    packed = pack(tmp_path / "src", data=os.urandom(1_500_000))
    heads = {
        "form": b"content-type: multipart/form-data; boundary=x\r\n",
        "tar": b"content-type: application/x-tar\r\n",
        "json": b"",
    }
    starts = {
        "form": b'--x\r\ncontent-disposition: form-data; name="image"; filename="x.tar"\r\n\r\n',
        "tar": b"",
        "json": b'{"base64Image": "',
    }

    async def run() -> None:
        async with world(tmp_path) as here:
            head = b"POST /mcm/v1/images HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n"
            _, writer = await _raw(here, head + heads[kind] + b"\r\n" + starts[kind])
            body = base64.b64encode(packed) if kind == "json" else packed
            writer.write(body[:1_000_000])
            await writer.drain()
            await until(lambda: nameless_files(tmp_path) == 1)  # it is being received
            writer.transport.abort()
            await until(lambda: nameless_files(tmp_path) == 0)
            assert list((tmp_path / "state/contents").iterdir()) == []
            assert (await here.http.get(IMAGES)).json() == {"data": []}

    asyncio.run(run())


def test_a_client_that_waits_for_100_continue_gets_it(tmp_path: Path) -> None:
    packed = pack(tmp_path / "src")

    async def run() -> None:
        async with world(tmp_path) as here:
            head = f"POST {IMAGES} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(packed)}\r\n"
            reader, writer = await _raw(here, head.encode() + b"expect: 100-continue\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(packed)
            assert (await reader.readline()).startswith(b"HTTP/1.1 201")
            writer.close()
            head = f"POST {IMAGES} HTTP/1.1\r\nhost: x\r\ncontent-length: {2**40}\r\n"
            reader, writer = await _raw(here, head.encode() + b"expect: 100-continue\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 413")  # before it is sent
            writer.close()

    asyncio.run(run())


def test_many_uploads_at_once_succeed_or_are_told_to_wait(tmp_path: Path) -> None:
    one, two = pack(tmp_path / "one", 1), pack(tmp_path / "two", 2)

    async def run() -> None:
        async with world(tmp_path) as here:
            post = here.http.post
            await here.deploy(tmp_path / "one", "probe")
            answers = await asyncio.gather(
                *(post(IMAGES, content=packed) for packed in (one, two, one, two))
            )
            assert [a.status_code for a in answers] == [201] * 4, [a.text for a in answers]
            (image,) = (await here.http.get(IMAGES)).json()["data"]
            version = (await here.http.get("/api/probe/v1/")).json()["version"]
            assert image["digest"] == answers[version - 1].json()["digest"]
            head = f"POST {IMAGES} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(one)}\r\n\r\n"
            open_ones = [await _raw(here, head.encode() + one[:1000]) for _ in range(AT_ONCE)]
            await until(lambda: nameless_files(tmp_path) == AT_ONCE)
            more = await post(IMAGES, content=one)
            refused(more, 503, f"{AT_ONCE} uploads are open")
            assert more.headers["retry-after"]
            for reader, writer in open_ones:
                writer.write(one[1000:])
                assert (await reader.readline()).startswith(b"HTTP/1.1 201")
                writer.close()
            assert (await post(IMAGES, content=one)).status_code == 201

    asyncio.run(run())


def test_signatures_are_asked_for_and_kept(tmp_path: Path) -> None:
    key, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    name, other = format_key(key.public_key()), format_key(stranger.public_key())
    packed = pack(tmp_path / "src")
    rules = ImageRules(frozenset({name}), require_signature=True)

    async def run() -> None:
        async with world(tmp_path, rules=rules) as here:
            post = here.http.post
            refused(await post(IMAGES, content=packed), 400, "it is not signed")
            foreign = sign_packed(packed, [stranger])
            refused(await post(IMAGES, content=foreign), 400, f"signed by {other}, which is none")
            forged = foreign.replace(other.encode(), name.encode())
            refused(await post(IMAGES, content=forged), 400, f"not made with key {name}")
            stolen = sign_packed(pack(tmp_path / "src", 2), [key])
            mixed = _with_signature_of(stolen, packed)
            refused(await post(IMAGES, content=mixed), 400, "it is of another content")
            assert list((tmp_path / "state/contents").iterdir()) == []
            good = await post(IMAGES, content=sign_packed(packed, [stranger, key]))
            assert good.status_code == 201, good.text
            assert sorted(good.json()["signedBy"]) == sorted([name, other])
        async with world(tmp_path, rules=rules) as here:  # the gateway starts again
            again = (await here.http.get(f"{IMAGES}/api-probe-v1")).json()
            assert again == good.json()
            assert (await here.create("probe", "probe-v1")).status_code == 201

    asyncio.run(run())


def _with_signature_of(signed: bytes, packed: bytes) -> bytes:
    files: dict[str, made.Content] = {}
    for archive in (packed, signed):
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for info in tar:
                member = tar.extractfile(info)
                assert member is not None
                if archive is packed or info.name == "signature.json":
                    files[info.name] = member.read()
    return made.make_tar(files)


def test_a_full_quota_answers_507_and_leaves_what_runs(tmp_path: Path) -> None:
    rules = ImageRules(quota_bytes=2 * MIB)

    async def run() -> None:
        async with world(tmp_path, rules=rules) as here:
            await here.deploy(_write(tmp_path / "a", 1, 1_200_000), "probe")
            response = await here.upload(_write(tmp_path / "a", 2, 1_200_000))
            refused(response, 507, "of the 2 MiB of [services] images_mib; `hecate rm IMAGE`")
            assert (await here.http.get("/api/probe/v1/")).json() == {"version": 1}
            assert len(list((tmp_path / "state/contents").iterdir())) == 1
            smaller = await here.upload(_write(tmp_path / "a", 3, 400_000))
            assert smaller.status_code == 201
            assert (await here.http.get("/api/probe/v1/")).json() == {"version": 3}

    asyncio.run(run())


def _write(directory: Path, version: int, size: int) -> Path:
    pack(directory, version, data=os.urandom(size))
    return directory


def test_a_full_disk_answers_507(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(_write(tmp_path / "a", 1, 10), "probe")
            monkeypatch.setattr("shutil.disk_usage", lambda _: _Usage(free=17 * MIB))
            response = await here.upload(_write(tmp_path / "a", 2, 2_000_000))
            refused(response, 507, "has 17 MiB left")
            assert (await here.http.get("/api/probe/v1/")).json() == {"version": 1}

    asyncio.run(run())


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free
