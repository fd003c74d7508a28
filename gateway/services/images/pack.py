"""Packs a directory into an image; the same directory always gives the same bytes.

Entries are sorted, and have neither time nor owner; no path of this machine is in them. The tar
is one that `docker load` takes, too.
"""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.services.errors import ImageError
from gateway.services.images.image import ENTRIES, read_image
from gateway.services.images.limits import DEFAULT_LIMITS, ImageLimits
from gateway.services.images.manifest import FILE_NAME, Manifest, parse_manifest
from gateway.services.images.signature import SIGNATURE_NAME, sign_digest

MODE = 0o444
SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "tests", "venv", "wheels"})
SKIPPED_FILES = frozenset({"conftest.py", "requirements.lock"})  # at the top
ANY_ARCHITECTURE = "amd64"  # of an image that runs everywhere: a constant, for the same bytes
_BUILT = re.compile(r".+-v[a-z0-9.]+\.tar(\.sig)?")  # an image that was built in this folder


@dataclass(frozen=True, slots=True)
class PackOptions:
    """The choices of a packing."""

    added: Mapping[str, bytes] = field(default_factory=dict)  # by path; they go before the folder's
    architecture: str = ANY_ARCHITECTURE
    labels: Mapping[str, str] = field(default_factory=dict)


def pack_image(
    directory: Path,
    limits: ImageLimits = DEFAULT_LIMITS,
    options: PackOptions | None = None,
) -> bytes:
    """Return the docker-save tar of a microservice's directory.

    Hidden files, caches, tests and what only a build needs stay out.

    Raises:
        ImageError: "cannot pack <directory>: why".
    """
    options = options or PackOptions()
    try:
        files = {name: path.read_bytes() for name, path in list_files(directory, limits).items()}
        files |= options.added
        manifest = _described(files)
        layer = _tar(files)
        packed = _docker_tar(layer, f"{manifest.image}:latest", options)
        read_image(io.BytesIO(packed), io.BytesIO(), limits)  # a gateway will take it
    except OSError as exc:
        missing = exc.filename or directory
        raise ImageError(f"cannot pack {directory}: {missing}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ImageError(f"cannot pack {directory}: {FILE_NAME} is not UTF-8") from exc
    except ImageError as exc:
        raise ImageError(f"cannot pack {directory}: {exc}") from exc
    return packed


def packed_digest(packed: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> str:
    """Return the content digest of an image's archive; ImageError if it is none."""
    return read_image(io.BytesIO(packed), io.BytesIO(), limits).digest


def sign_packed(
    packed: bytes, keys: Iterable[Ed25519PrivateKey], limits: ImageLimits = DEFAULT_LIMITS
) -> bytes:
    """Return an image's uncompressed tar with signature.json, in place of an earlier one.

    Raises:
        ImageError: it is no image.
    """
    text = sign_digest(packed_digest(packed, limits), keys)
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for info in tar:
            member = tar.extractfile(info) if info.isreg() else None
            if member is not None and info.name != SIGNATURE_NAME:
                files[info.name] = member.read()
    return _tar(files | {SIGNATURE_NAME: text.encode()})


def list_files(directory: Path, limits: ImageLimits = DEFAULT_LIMITS) -> dict[str, Path]:
    """Return the files of a directory that an image holds, by their path in it.

    Raises:
        ImageError: there is a link, or more than the limits allow.
    """
    files: dict[str, Path] = {}
    total = 0
    for root, folders, names in os.walk(directory):
        inside = Path(root).relative_to(directory)
        folders[:] = sorted(name for name in folders if not _is_skipped_folder(name))
        for name in sorted([*folders, *names]):
            path, relative = Path(root) / name, inside / name
            if name in folders and not path.is_symlink():
                continue
            if name not in folders and _is_skipped_file(relative):
                continue
            if path.is_symlink():
                raise ImageError(f"{relative} is a link")
            if path.is_file():
                total += path.stat().st_size
                if total > limits.upload_bytes:
                    raise ImageError(f"it holds more than {limits.upload_bytes} bytes")
                files[relative.as_posix()] = path
    return files


def _is_skipped_folder(name: str) -> bool:
    return name.startswith(".") or name in SKIPPED_FOLDERS


def _is_skipped_file(path: Path) -> bool:
    if path.name.startswith(".") or path.name.endswith((".pyc", "~")):
        return True
    if len(path.parts) > 1:
        return False
    is_test = path.name.startswith("test_") and path.suffix == ".py"
    return is_test or path.name in SKIPPED_FILES or _BUILT.fullmatch(path.name) is not None


def _described(files: Mapping[str, bytes]) -> Manifest:
    if FILE_NAME not in files:
        raise ImageError(f"no {FILE_NAME} in it")
    manifest = parse_manifest(files[FILE_NAME].decode())
    if not any(entry in files for entry in ENTRIES):
        raise ImageError(f"it holds neither {' nor '.join(ENTRIES)}")
    return manifest


def _docker_tar(layer: bytes, repo_tag: str, options: PackOptions) -> bytes:
    layer_digest = hashlib.sha256(layer).hexdigest()
    architecture, _, variant = options.architecture.partition("/")  # arm/v7
    config = json.dumps(
        {
            "architecture": architecture,
            **({"variant": variant} if variant else {}),
            "os": "linux",
            "config": {"Labels": dict(options.labels)} if options.labels else {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    layer_name = f"{layer_digest}/layer.tar"
    described = [{"Config": config_name, "RepoTags": [repo_tag], "Layers": [layer_name]}]
    return _tar(
        {
            config_name: config,
            layer_name: layer,
            "manifest.json": json.dumps(described).encode(),
        }
    )


def _tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            info = tarfile.TarInfo(name)  # mtime, uid and gid are 0
            info.size, info.mode = len(content), MODE
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()
