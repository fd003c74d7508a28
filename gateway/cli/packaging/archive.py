"""Reads an image file that has been built already."""

import tempfile
from pathlib import Path

from gateway.cli.errors import CliError
from gateway.cli.packaging.builder import START_S, Package
from gateway.services.errors import ImageError
from gateway.services.images.image import read_image
from gateway.services.images.limits import DEFAULT_LIMITS


def is_archive(path: Path) -> bool:
    """Return whether a path names an image file, not a folder."""
    return path.is_file()


def load_archive(path: Path) -> Package:
    """Return the package of an image file; CliError when no gateway would take it."""
    try:
        with path.open("rb") as source, tempfile.TemporaryFile() as scratch:
            image = read_image(source, scratch, DEFAULT_LIMITS)
            source.seek(0)
            tar = source.read()
    except (OSError, ImageError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else str(exc).partition(": ")[2]
        raise CliError(
            f"cannot deploy {path}: {why or exc}; give a folder, or an image of `hecate build` or "
            "of another builder"
        ) from exc
    manifest = image.manifest
    return Package(
        manifest.name,
        image.name,
        tar,
        manifest.limits.start_s or START_S,
        manifest.http.base,
        runtime=image.runtime,
    )
