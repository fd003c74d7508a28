"""A large upload costs the gateway no memory, whatever way it comes."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.services.images.limits import MIB
from tests import image_archives as made
from tests.system import Gateway

GROWTH_BYTES = 24 * MIB  # modules that only an upload needs, buffers; the archive has 40 MiB
PIECE_BYTES = 64 * 1024


def peak(pid: int) -> int:
    """Return the highest resident memory since the last reset."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


@pytest.mark.timeout(120)
def test_the_gateway_holds_no_upload_in_memory(tmp_path: Path) -> None:
    files: dict[str, made.Content] = {
        "service.py": b"",
        "microservice.toml": b'name = "large"\n',
        "data": os.urandom(40 * MIB),
    }
    layer = made.make_tar(files)
    packed = made.oci_layout([layer], "large-v1:1", how="zstd")
    ways = {
        "tar": packed,
        "json": b'{"base64Image": "' + base64.b64encode(packed) + b'"}',
    }
    with Gateway(tmp_path) as gateway:
        pid = gateway.program.process.pid
        before = psutil.Process(pid).memory_info().rss
        for way, body in ways.items():
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the peak
            answer = httpx.post(
                f"{gateway.url}/mcm/v1/images",
                content=pieces(body),
                headers={"Authorization": f"Bearer {gateway.key}"},
                timeout=100,
                trust_env=False,
            )
            assert answer.status_code == 201, answer.text
            assert peak(pid) - before < GROWTH_BYTES, way
