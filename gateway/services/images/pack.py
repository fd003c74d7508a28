"""Packs a directory into an image; the same directory always gives the same bytes."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.services.errors import ImageError
from gateway.services.images.image import ENTRIES, read_image
from gateway.services.images.limits import DEFAULT_LIMITS, ImageLimits
from gateway.services.images.manifest import FILE_NAME, Manifest, parse_manifest
from gateway.services.images.signature import SIGNATURE_NAME, sign_digest

MODE = 0o444
SKIPPED_FOLDERS = frozenset({"__pycache__", "tests"})


def pack_image(directory: Path, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """Return the docker-save tar of a microservice's directory.

    Hidden files, caches and a tests folder stay out.

    Raises:
        ImageError: "cannot pack <directory>: why".
    """
    try:
        manifest = _described(directory)
        layer = _tar({name: path.read_bytes() for name, path in _files(directory, limits).items()})
        packed = _docker_tar(layer, f"{manifest.image}:latest")
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


def _described(directory: Path) -> Manifest:
    manifest = parse_manifest((directory / FILE_NAME).read_text(encoding="utf-8"))
    if not any((directory / entry).is_file() for entry in ENTRIES):
        raise ImageError(f"it holds neither {' nor '.join(ENTRIES)}")
    return manifest


def _files(directory: Path, limits: ImageLimits) -> dict[str, Path]:
    files: dict[str, Path] = {}
    total = 0
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        hidden = any(part.startswith(".") or part in SKIPPED_FOLDERS for part in relative.parts)
        if hidden or path.suffix == ".pyc":
            continue
        if path.is_symlink():
            raise ImageError(f"{relative} is a link")
        if path.is_file():
            total += path.stat().st_size
            if total > limits.upload_bytes:
                raise ImageError(f"it holds more than {limits.upload_bytes} bytes")
            files[relative.as_posix()] = path
    return files


def _docker_tar(layer: bytes, repo_tag: str) -> bytes:
    layer_digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
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


def _tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)  # mtime, uid and gid are 0
            info.size, info.mode = len(content), MODE
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()
