"""Defines how large an image may be."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The limits of an image's size."""

    upload_bytes: int = 64 * MIB
    content_bytes: int = 128 * MIB
    files: int = 10_000  # of all layers together; links count
    layers: int = 64


DEFAULT_LIMITS = ImageLimits()
