"""docs/deploying.md: its commands run in order, and its figures are those of the code."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import load_gateway_config
from gateway.services.api.uploads import AT_ONCE
from gateway.services.images.archives.compression import RATIO_LIMIT
from gateway.services.images.pack import pack_image, packed_digest
from gateway.services.images.sources import REDIRECTS_LIMIT
from gateway.services.settings import CONTENT_FACTOR
from gateway.sidecar.elsewhere.node_images import PIECE_BYTES
from protocol.codes import MAX_TTL_S
from tests.integration.gateway.services.world import write_service
from tests.programs import ROOT
from tests.system import Gateway

TEXT = (ROOT / "docs" / "deploying.md").read_text()
IMAGES = TEXT[TEXT.index("## Images") :].split("\n## ")[0]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", IMAGES, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="the page uses curl")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("page")) as gateway:
        yield gateway


def type_in(folder: Path, command: str, gateway: Gateway) -> str:
    environ = {**os.environ, "KEY": gateway.key, "URL": gateway.url, "no_proxy": "*"}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environ, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def test_the_commands_about_images_work(gateway: Gateway, tmp_path: Path) -> None:
    source = write_service(tmp_path / "src", "x = 1\n", name="hello")
    packed = pack_image(source)
    (tmp_path / "hello.tar").write_bytes(packed)
    digest_command, *others = [line for block in BLOCKS for line in block.splitlines()]
    printed = type_in(source, digest_command, gateway)
    assert f"sha256:{hashlib.sha256(printed.encode()).hexdigest()}" == packed_digest(packed)
    stored = [json.loads(said) for each in others if (said := type_in(tmp_path, each, gateway))]
    assert len(stored) == 4
    assert {image["digest"] for image in stored} == {packed_digest(packed)}
    copy, head = (tmp_path / "copy.tar").read_bytes(), (tmp_path / "head.tar").read_bytes()
    assert (packed_digest(copy), head) == (packed_digest(packed), copy[:1024])


def test_the_configuration_on_the_page_is_one(tmp_path: Path) -> None:
    (toml,) = re.findall(r"^```toml\n(.*?)^```", IMAGES, re.MULTILINE | re.DOTALL)
    key = tmp_path / "build.pub"
    key.write_text(f"ed25519:{'A' * 43}")
    path = tmp_path / "gateway.toml"
    path.write_text(toml.replace("/etc/hecate/build.pub", str(key)))
    rules = load_gateway_config(path, {}).services.rules()
    assert rules.require_signature
    assert rules.trusted_keys == {f"ed25519:{'A' * 43}"}


def test_the_figures_on_the_page_are_those_of_the_code() -> None:
    assert (AT_ONCE, REDIRECTS_LIMIT, CONTENT_FACTOR) == (8, 5, 2)
    assert "Eight uploads may be open" in IMAGES
    assert "at most five redirects" in IMAGES
    assert "unpacked more than twice that" in IMAGES
    assert f"{RATIO_LIMIT} times its compressed size" in IMAGES
    assert f"ranges of {PIECE_BYTES // 1024} KiB" in IMAGES
    assert f"at most {MAX_TTL_S // 3600} hours ahead" in IMAGES
