"""Archives that programs of others have written, where the machine has them (skopeo, umoci)."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from gateway.services.images.image import Image, read_image
from gateway.services.images.limits import DEFAULT_LIMITS

pytestmark = pytest.mark.skipif(
    not (shutil.which("umoci") and shutil.which("skopeo")), reason="needs umoci and skopeo"
)
POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


def run(folder: Path, command: str) -> None:
    done = subprocess.run(
        command.split(), cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stderr)


def read(path: Path) -> Image:
    with path.open("rb") as source:
        image = read_image(source, io.BytesIO(), DEFAULT_LIMITS)
        found = {str(file.path): b"".join(image.read(file)) for file in image.files}
    found.pop("microservice.toml")
    assert found == {"index.js": b"new", "lib/a.js": b"a", "link.js": b"a"}
    return image


# case S16
# case S17
def test_layers_of_umoci_and_archives_of_skopeo(tmp_path: Path) -> None:
    for name, files in {
        "lower": {"index.js": "old", "lib/a.js": "a", "lib/b.js": "b"},
        "upper": {"index.js": "new"},
    }.items():
        for path, content in files.items():
            target = tmp_path / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
    (tmp_path / "lower/link.js").symlink_to("lib/a.js")
    (tmp_path / "policy.json").write_text(POLICY)
    for command in (
        "umoci init --layout img",
        "umoci new --image img:probe-v1",
        "umoci insert --image img:probe-v1 lower /",
        "umoci insert --image img:probe-v1 upper /",
        "umoci insert --image img:probe-v1 --whiteout /lib/b.js",
    ):
        run(tmp_path, command)
    with tarfile.open(tmp_path / "umoci.tar", "w") as tar:
        tar.add(tmp_path / "img", ".")
    skopeo = "skopeo --policy policy.json copy"
    run(tmp_path, f"{skopeo} oci:img:probe-v1 docker-archive:docker.tar:probe-v1:latest")
    run(tmp_path, f"{skopeo} oci:img:probe-v1 oci-archive:oci.tar:probe-v1:latest")
    zstd = "--dest-compress-format zstd oci:img:probe-v1 oci-archive:zstd.tar:probe-v1"
    run(tmp_path, f"{skopeo} {zstd}")
    images = [read(tmp_path / f"{name}.tar") for name in ("umoci", "docker", "oci", "zstd")]
    assert {image.name for image in images} == {"probe-v1"}
    assert len({image.digest for image in images}) == 1
