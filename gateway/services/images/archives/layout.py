"""Finds the image in an archive: the layouts of docker save and of OCI.

docker save writes manifest.json, which names a config and the layers. Older versions put layers at
<id>/layer.tar; since Docker 25 the archive is an OCI layout as well, with everything below
blobs/sha256. OCI archives (buildx, buildah, skopeo) have index.json, which may lead through further
indexes, one entry for each platform.

manifest.json wins where both are: some versions write an OCI manifest without layers.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.services.errors import ImageError
from gateway.services.images.archives.extent import Extent
from gateway.services.images.archives.members import ImageArchive, read_json
from gateway.services.images.limits import ImageLimits
from gateway.services.images.signature import ANNOTATION, SIGNATURE_LIMIT_BYTES, SIGNATURE_NAME

INDEX_DEPTH = 4
TAGS_LIMIT = 16
TEXT_LIMIT = 256  # characters of a tag, a label
LABELS_LIMIT = 64

CONTAINERD_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class LayerRef:
    """A layer in an archive."""

    name: str  # for messages
    content: Extent  # perhaps compressed
    diff_id: str  # "sha256:…" of the tar; "" when no config says it


@dataclass(frozen=True, slots=True)
class Layout:
    """An image's layers and what its config says."""

    layers: tuple[LayerRef, ...]
    repo_tags: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    working_dir: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class _Config:
    diff_ids: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    working_dir: str = ""


def find_layout(archive: ImageArchive, limits: ImageLimits, machine: str) -> Layout:
    """Return the image of an archive.

    Args:
        archive: the archive.
        limits: how many layers are taken.
        machine: the architecture to choose, as OCI names it, when there are several.
    """
    if archive.has("manifest.json"):
        layout = _docker_layout(archive)
        if layout.layers or not archive.has("index.json"):
            return _checked(layout, limits)
    if not archive.has("index.json"):
        raise ImageError(
            "cannot read image: no file manifest.json or index.json in it; "
            "`docker save` makes an image, `docker export` does not"
        )
    return _checked(_oci_layout(archive, machine), limits)


def _checked(layout: Layout, limits: ImageLimits) -> Layout:
    if not 0 < len(layout.layers) <= limits.layers:
        raise ImageError(
            f"cannot read image: {len(layout.layers)} layers, not 1 to {limits.layers}"
        )
    return layout


def _docker_layout(archive: ImageArchive) -> Layout:
    entries = archive.json("manifest.json")
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        count = f"{len(entries)} images" if isinstance(entries, list) else "no list"
        raise ImageError(
            f"cannot read image: manifest.json describes {count}, not one image; save one at a time"
        )
    entry: dict[str, Any] = entries[0]
    config = _Config()
    if entry.get("Config") is not None:
        config = _read_config(_open_config(archive, str(entry["Config"])))
    names = _texts(entry, "Layers")
    return Layout(
        _layers([(name, archive.open(name)) for name in names], config.diff_ids),
        tuple(tag[:TEXT_LIMIT] for tag in _texts(entry, "RepoTags")[:TAGS_LIMIT]),
        config.labels,
        config.working_dir,
        _signature(archive, {}),
    )


def _open_config(archive: ImageArchive, name: str) -> Extent:
    """Return the config; its name is its digest: <hex>.json, sha256:<hex>, blobs/sha256/<hex>."""
    content = archive.open(name)
    digits = name.removesuffix(".json").removeprefix("sha256:")
    if len(digits) == 64 and _HEX.issuperset(digits) and content.sha256() != digits:
        raise ImageError("cannot read image: its config does not have the digest in its name")
    return content


def _oci_layout(archive: ImageArchive, machine: str) -> Layout:
    descriptor: dict[str, Any] = {}
    table = _table(archive.json("index.json"), "index.json")
    annotations: dict[str, str] = {}
    for _ in range(INDEX_DEPTH):
        if "manifests" not in table:
            break
        descriptor = _choose(_tables(table, "manifests"), machine)
        annotations |= _labels(descriptor.get("annotations"))
        content = archive.open_blob(descriptor, "its manifest")
        table = _table(read_json(content, "its manifest"), "its manifest")
    if "manifests" in table or "layers" not in table:
        raise ImageError("cannot read image: index.json leads to no image manifest")
    annotations |= _labels(table.get("annotations"))
    config = _Config()
    if isinstance(table.get("config"), dict):
        config = _read_config(archive.open_blob(table["config"], "its config"))
    layers = []
    for number, layer in enumerate(_tables(table, "layers"), 1):
        name = f"layer {number}"
        layers.append((name, archive.open_blob(layer, name)))
    return Layout(
        _layers(layers, config.diff_ids),
        _oci_tags(annotations),
        annotations | config.labels,
        config.working_dir,
        _signature(archive, _table(table.get("annotations") or {}, "annotations")),
    )


def _choose(descriptors: list[dict[str, Any]], machine: str) -> dict[str, Any]:
    """Return the entry of an index for this machine; the only one suits every machine."""
    images = [each for each in descriptors if _platform(each) != "unknown"]  # attestations
    if len(images) == 1:
        return images[0]
    for each in images:
        if _platform(each) == machine:
            return each
    there = ", ".join(sorted({_platform(each) or "any" for each in images})) or "none"
    raise ImageError(
        f"cannot read image: none for {machine} in it, but for {there}; "
        "build it for one platform, or for this one as well"
    )


def _platform(descriptor: dict[str, Any]) -> str:
    platform = descriptor.get("platform")
    return str(platform.get("architecture", "")) if isinstance(platform, dict) else ""


def _oci_tags(annotations: dict[str, str]) -> tuple[str, ...]:
    """Return the image's name and tag; ref.name alone is often just a tag."""
    full = annotations.get(CONTAINERD_NAME, "")
    short = annotations.get(REF_NAME, "")
    if full:
        return (full,)
    return (short,) if ":" in short or "/" in short or "-v" in short else ()


def _read_config(content: Extent) -> _Config:
    table = read_json(content, "config")
    if not isinstance(table, dict):
        return _Config()
    rootfs, inner = table.get("rootfs") or {}, table.get("config") or {}
    if not isinstance(rootfs, dict) or not isinstance(inner, dict):
        raise ImageError("cannot read image: rootfs of its config is not an object")
    working_dir = inner.get("WorkingDir")
    return _Config(
        tuple(_texts(rootfs, "diff_ids")),
        _labels(inner.get("Labels")),
        working_dir[:TEXT_LIMIT] if isinstance(working_dir, str) else "",
    )


def _layers(found: list[tuple[str, Extent]], diff_ids: tuple[str, ...]) -> tuple[LayerRef, ...]:
    if diff_ids and len(diff_ids) != len(found):
        raise ImageError("cannot read image: config and manifest name different layers")
    padded = diff_ids or ("",) * len(found)
    return tuple(LayerRef(*layer, diff_id) for layer, diff_id in zip(found, padded, strict=True))


def _signature(archive: ImageArchive, annotations: dict[str, Any]) -> str:
    if archive.has(SIGNATURE_NAME):
        content = archive.open(SIGNATURE_NAME)
        if content.size > SIGNATURE_LIMIT_BYTES:
            raise ImageError(f"cannot read image: {SIGNATURE_NAME} is too long")
        return content.read_at(0, content.size).decode(errors="replace")
    text = annotations.get(ANNOTATION, "")
    if not isinstance(text, str) or len(text) > SIGNATURE_LIMIT_BYTES:
        raise ImageError(f"cannot read image: its annotation {ANNOTATION} is malformed")
    return text


def _labels(table: Any) -> dict[str, str]:
    if not isinstance(table, dict):
        return {}
    pairs = list(table.items())[:LABELS_LIMIT]
    return {str(key)[:TEXT_LIMIT]: str(value)[:TEXT_LIMIT] for key, value in pairs}


def _texts(table: dict[str, Any], key: str) -> list[str]:
    values = table.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ImageError(f"cannot read image: {key} is not a list of texts")
    return values


def _table(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ImageError(f"cannot read image: {what} is not an object")
    return value


def _tables(table: dict[str, Any], key: str) -> list[dict[str, Any]]:
    values = table.get(key)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ImageError(f"cannot read image: {key} is not a list of objects")
    return values
