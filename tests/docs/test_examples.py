"""examples/: the commands of each page run, and the index has all of them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.services.images.manifest import parse_manifest
from tests.peers import require
from tests.programs import ROOT
from tests.system import Gateway

EXAMPLES = ROOT / "examples"
FOLDERS = sorted(file.parent for file in EXAMPLES.glob("*/microservice.toml"))
PAGE_LINES = 60
# pages whose commands need no second node, no cloud and no device
ALONE = ("climate", "alarm", "hourly", "webhook")
HECATE = '#!/bin/sh\nexec "{python}" -m gateway "$@"\n'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("examples")) as gateway:
        yield gateway


def test_the_index_has_all_examples() -> None:
    index = (EXAMPLES / "README.md").read_text()
    names = re.findall(r"\[([a-z]+)\]\(\1/README\.md\)", index)
    assert sorted(names) == [folder.name for folder in FOLDERS]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_example_has_a_page_and_a_test(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    assert len(page.splitlines()) <= PAGE_LINES
    assert f"hecate deploy examples/{folder.name}" in page
    assert parse_manifest((folder / "microservice.toml").read_text()).name == folder.name
    assert (folder / "test_service.py").exists() == (folder / "service.py").exists()
    for link in re.findall(r"\]\(([^)#:]+)\)", page):
        assert (folder / link).exists(), link


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_the_commands_of_a_page_run(name: str, gateway: Gateway, tmp_path: Path) -> None:
    page = (EXAMPLES / name / "README.md").read_text()
    if "openssl " in page:
        require("openssl")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    hecate = tmp_path / "bin/hecate"
    hecate.parent.mkdir()
    hecate.write_text(HECATE.format(python=sys.executable))
    hecate.chmod(0o755)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    environ = {
        **os.environ, "PATH": f"{hecate.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
        "HECATE_URL": gateway.url, "HECATE_API_KEY": gateway.key, "NO_COLOR": "1",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(blocks)], cwd=tmp_path, env=environ,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout
    # the answers of the page, but for those that depend on the time
    for line in re.findall(r'^(\{"(?!data": \[\{"hour).*\})$', page, re.MULTILINE):
        assert line in said, said
