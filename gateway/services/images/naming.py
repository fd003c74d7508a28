"""Names images: by their tags, and by the manifest that an image without one gets."""

import re

from gateway.services.errors import ImageError
from gateway.services.images.manifest import Manifest

TAGGED = re.compile(r"(.+?)-v([a-z0-9.]{1,16})")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,90}")
_NOT_ALLOWED = re.compile(r"[^a-z0-9]+")
MANIFEST_NAME_LIMIT = 40


def repository_of(tag: str) -> str:
    """Return the name in a tag, without registry, path and version.

    registry.example.com:5000/team/climate-v1:latest -> climate-v1
    """
    return tag.split("@", 1)[0].rpartition("/")[2].partition(":")[0]


def check_tags(repo_tags: tuple[str, ...], manifest: Manifest) -> None:
    """Return if the tags name the microservice that the manifest describes; ImageError if not."""
    for tag in repo_tags:
        if repository_of(tag) not in (manifest.image, manifest.name):
            raise ImageError(
                f"cannot read image: tagged {tag:.80}, but microservice.toml says {manifest.image}"
            )


def name_of_tags(repo_tags: tuple[str, ...]) -> str:
    """Return the name of an image without a manifest: that of its first tag."""
    if not repo_tags:
        raise ImageError(
            "cannot read image: it has no name; tag it (`docker build -t NAME`), or add a "
            "microservice.toml"
        )
    name = repository_of(repo_tags[0])
    if not _NAME.fullmatch(name):
        raise ImageError(f"cannot read image: {name!r:.80} cannot be its name")
    return name


def default_manifest(image_name: str) -> str:
    """Return the text of microservice.toml for an image that has none.

    Such images were built for other runtimes: their path and their rights come from the
    environment of their container.
    """
    tagged = TAGGED.fullmatch(image_name.lower())
    name, version = (tagged[1], tagged[2]) if tagged else (image_name.lower(), "1")
    plain = _NOT_ALLOWED.sub("-", name)[:MANIFEST_NAME_LIMIT].strip("-") or "image"
    return (
        f'# written by the gateway: the image has none\nname = "{plain}"\nversion = "{version}"\n'
    )
