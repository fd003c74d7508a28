"""Builds archives of images as their builders lay them out, of layers given as files.

Each function follows the structure that one builder writes: names, nesting, compression, digests.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backports import zstd

CODE = b"mimikModule.exports = function (context, request, response) { response.end('{}') }\n"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True)
class Special:
    """A member that is no plain file."""

    kind: bytes
    link: str = ""


def symlink(target: str) -> Special:
    return Special(tarfile.SYMTYPE, target)


def hard_link(target: str) -> Special:
    return Special(tarfile.LNKTYPE, target)


FOLDER = Special(tarfile.DIRTYPE)
Content = bytes | Special
Files = Mapping[str, Content]


def make_tar(files: Files | Sequence[tuple[str, Content]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar; a sequence of pairs may hold a name twice."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            info = tarfile.TarInfo(name)
            if isinstance(content, Special):
                info.type, info.linkname = content.kind, content.link
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def compress(layer: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(layer, mtime=0)
    return zstd.compress(layer) if how == "zstd" else layer


def config_of(layers: Sequence[bytes], **config: Any) -> bytes:
    diff_ids = [f"sha256:{sha256(layer)}" for layer in layers]
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": "COPY", "empty_layer": False}],
        }
    ).encode()


def docker_old(layers: Sequence[bytes], tag: str = "probe-v1:latest", **config: Any) -> bytes:
    """Docker save before 25: <id>/{VERSION,json,layer.tar}, <digest>.json, repositories."""
    files: dict[str, Content] = {}
    names = []
    for layer in layers:
        layer_id = sha256(b"v1 " + layer)
        files |= {
            f"{layer_id}/": FOLDER,
            f"{layer_id}/VERSION": b"1.0",
            f"{layer_id}/json": json.dumps({"id": layer_id}).encode(),
            f"{layer_id}/layer.tar": layer,
        }
        names.append(f"{layer_id}/layer.tar")
    described = config_of(layers, **config)
    name = f"{sha256(described)}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": names}]
    return make_tar(
        files
        | {
            name: described,
            "manifest.json": json.dumps(manifest).encode(),
            "repositories": json.dumps({tag.split(":")[0]: {"latest": "0" * 64}}).encode(),
        }
    )


def docker_25(
    layers: Sequence[bytes], tag: str = "probe-v1:latest", *, oci_layers: bool = True
) -> bytes:
    """Docker save since 25: an OCI layout with manifest.json; some leave the OCI layers out."""
    blobs = _Blobs()
    described = config_of(layers)
    config = blobs.add(described, "application/vnd.oci.image.config.v1+json")
    added = [blobs.add(layer, OCI_LAYER) for layer in layers]
    oci = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config,
        "layers": added if oci_layers else [],
    }
    top = blobs.add(json.dumps(oci).encode(), OCI_MANIFEST)
    top["annotations"] = {
        "io.containerd.image.name": f"docker.io/library/{tag}",
        "org.opencontainers.image.ref.name": "latest",
    }
    manifest = [
        {
            "Config": blobs.path(config),
            "RepoTags": [tag],
            "Layers": [blobs.path(each) for each in added],
            "LayerSources": {each["digest"]: each for each in added},
        }
    ]
    return make_tar(
        {"blobs/": FOLDER, "blobs/sha256/": FOLDER}
        | blobs.files
        | {
            "index.json": json.dumps({"schemaVersion": 2, "manifests": [top]}).encode(),
            "manifest.json": json.dumps(manifest).encode(),
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        }
    )


def oci_layout(
    layers: Sequence[bytes],
    name: str = "docker.io/library/probe-v1:latest",
    *,
    how: str = "gzip",
    annotations: Mapping[str, str] | None = None,
    **config: Any,
) -> bytes:
    """Buildx --output type=oci: one manifest, compressed layers."""
    blobs = _Blobs()
    top = _oci_manifest(blobs, layers, how, annotations or {}, config)
    top["annotations"] = {"io.containerd.image.name": name}
    return _oci_tar(blobs, [top])


def skopeo_oci(layers: Sequence[bytes], ref: str = "probe-v1:latest") -> bytes:
    """Skopeo copy … oci-archive:x.tar:probe-v1:latest, also buildah and podman."""
    blobs = _Blobs()
    top = _oci_manifest(blobs, layers, "gzip", {}, {})
    top["annotations"] = {"org.opencontainers.image.ref.name": ref}
    return _oci_tar(blobs, [top])


def nested_oci(by_machine: Mapping[str, Sequence[bytes]], name: str = "probe-v1:latest") -> bytes:
    """Buildx for several platforms: an index in the index, with attestations beside the images."""
    blobs = _Blobs()
    manifests = []
    for machine, layers in by_machine.items():
        one = _oci_manifest(blobs, layers, "zstd", {}, {})
        one["platform"] = {"architecture": machine, "os": "linux"}
        proof = blobs.add(b'{"schemaVersion": 2, "layers": []}', OCI_MANIFEST)
        proof |= {
            "platform": {"architecture": "unknown", "os": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
        }
        manifests += [one, proof]
    inner = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    top = blobs.add(json.dumps(inner).encode(), OCI_INDEX)
    top["annotations"] = {"io.containerd.image.name": name}
    return _oci_tar(blobs, [top])


def skopeo_docker(layers: Sequence[bytes], tag: str = "localhost/probe-v1:latest") -> bytes:
    """Podman save, skopeo docker-archive: <digest>.tar, and old names as links to them."""
    files: dict[str, Content] = {}
    names = []
    for layer in layers:
        name, layer_id = f"{sha256(layer)}.tar", sha256(b"v1 " + layer)
        files |= {
            name: layer,
            f"{layer_id}/layer.tar": symlink(f"../{name}"),
            f"{layer_id}/VERSION": b"1.0",
        }
        names.append(f"{layer_id}/layer.tar")
    described = config_of(layers)
    config = f"{sha256(described)}.json"
    manifest = [{"Config": config, "RepoTags": [tag], "Layers": names}]
    return make_tar(files | {config: described, "manifest.json": json.dumps(manifest).encode()})


def kaniko(layers: Sequence[bytes], tag: str = "registry:5000/team/probe-v1:7") -> bytes:
    """Kaniko --tar-path, and others with the library of go-containerregistry."""
    packed = [compress(layer, "gzip") for layer in layers]
    names = [f"{sha256(each)}.tar.gz" for each in packed]
    described = config_of(layers)
    config = f"sha256:{sha256(described)}"
    manifest = [{"Config": config, "RepoTags": [tag], "Layers": names}]
    files = dict(zip(names, packed, strict=True))
    return make_tar(
        {config: described} | files | {"manifest.json": json.dumps(manifest).encode()},
        tarfile.USTAR_FORMAT,
    )


def jib(layers: Sequence[bytes], tag: str = "probe-v1") -> bytes:
    """Jib buildTar: config.json, compressed layers; a layer that occurs twice is written once."""
    packed = [compress(layer, "gzip") for layer in layers]
    names = [f"{sha256(each)}.tar.gz" for each in packed]
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": names}]
    return make_tar(
        dict(zip(names, packed, strict=True))
        | {"config.json": config_of(layers), "manifest.json": json.dumps(manifest).encode()}
    )


class _Blobs:
    """The files below blobs/sha256."""

    def __init__(self) -> None:
        self.files: dict[str, Content] = {}

    def add(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = sha256(content)
        self.files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def path(self, descriptor: dict[str, Any]) -> str:
        return str(descriptor["digest"]).replace("sha256:", "blobs/sha256/")


def _oci_manifest(
    blobs: _Blobs,
    layers: Sequence[bytes],
    how: str,
    annotations: Mapping[str, str],
    config: Mapping[str, Any],
) -> dict[str, Any]:
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blobs.add(
            config_of(layers, **config), "application/vnd.oci.image.config.v1+json"
        ),
        "layers": [blobs.add(compress(each, how), f"{OCI_LAYER}+{how}") for each in layers],
        "annotations": dict(annotations),
    }
    return blobs.add(json.dumps(manifest).encode(), OCI_MANIFEST)


def _oci_tar(blobs: _Blobs, manifests: list[dict[str, Any]]) -> bytes:
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    return make_tar(
        blobs.files
        | {
            "index.json": json.dumps(index).encode(),
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        }
    )
