"""Finds the files of an image's archive by name and by digest, and verifies them."""

import hashlib
import re
from typing import Any

from gateway.services.errors import ImageError, ImageSizeError
from gateway.services.images.archives.extent import Extent
from gateway.services.images.archives.paths import read_path, resolve_link
from gateway.services.images.archives.tars import Member, MemberKind, read_members
from gateway.services.images.limits import ImageLimits
from web import JsonError, parse_json

JSON_LIMIT_BYTES = 1024 * 1024  # manifests, configs
LINK_HOPS = 8

_DIGEST = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")
_BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)")
_LINKS = (MemberKind.SYMLINK, MemberKind.HARD_LINK)


class ImageArchive:
    """The members of a tar; a name occurs once, or twice with the same bytes."""

    def __init__(self, tar: Extent, limits: ImageLimits) -> None:
        self._members: dict[tuple[str, ...], Member] = {}
        self._verified: set[str] = set()  # names of blobs: layers may occur twice
        for member in read_members(tar, limits):
            if member.kind is MemberKind.DEVICE:
                raise ImageError(f"cannot read image: {member.name:.80} is a device")
            path = read_path(member.name)
            before = self._members.setdefault(path, member)
            if before is not member and not _are_same(before, member):
                raise ImageError(f"cannot read image: {member.name:.80} is in it twice")

    def has(self, name: str) -> bool:
        """Return whether there is a member of this name."""
        return read_path(name) in self._members

    def open(self, name: str) -> Extent:
        """Return the content of a file, links to other members followed.

        A file below blobs/ is verified against the digest in its name.
        """
        path = read_path(name)
        content = self._follow(path, name)
        blob = _BLOB.fullmatch("/".join(path))
        if blob is not None and name not in self._verified:
            _verify(content, blob[1], blob[2], name)
            self._verified.add(name)
        return content

    def open_blob(self, descriptor: dict[str, Any], what: str) -> Extent:
        """Return what an OCI descriptor names, its size and digest verified."""
        match = _DIGEST.fullmatch(str(descriptor.get("digest")))
        if match is None:
            raise ImageError(f"cannot read image: {what} has no digest of SHA-256 or SHA-512")
        algorithm, digits = match[1] or match[3], match[2] or match[4]
        name = f"blobs/{algorithm}/{digits}"
        if not self.has(name):
            raise ImageError(f"cannot read image: {what} is not in it: no file {name:.90}")
        content = self.open(name)
        size = descriptor.get("size")
        if size != content.size:
            raise ImageError(
                f"cannot read image: {what} has {content.size} bytes, its descriptor says {size!r}"
            )
        return content

    def json(self, name: str) -> Any:
        """Return the value in a JSON file."""
        return read_json(self.open(name), name)

    def _follow(self, path: tuple[str, ...], name: str) -> Extent:
        member = self._members.get(path)
        for _ in range(LINK_HOPS):
            if member is None or member.kind not in _LINKS:
                break
            link = member
            member = self._linked(link)
            if member is None:
                raise ImageError(
                    f"cannot read image: {link.name:.80} is a link to {link.link:.80}, "
                    "which is not in the archive"
                )
        if member is None:
            raise ImageError(f"cannot read image: no file {name:.80} in it")
        if member.kind is not MemberKind.FILE:
            kind = "links in a circle" if member.kind in _LINKS else f"a {member.kind.value}"
            raise ImageError(f"cannot read image: {name:.80} is {kind}")
        return member.content

    def _linked(self, member: Member) -> Member | None:
        """Return the target of a link.

        The target of a hard link is a path from the root of the archive; that of a symbolic link
        begins in its folder. Some builders write the latter from the root as well.
        """
        folder = read_path(member.name)[:-1] if member.kind is MemberKind.SYMLINK else ()
        for start in (folder, ()):
            target = resolve_link(start, member.link)
            if target is not None and target in self._members:
                return self._members[target]
        return None


def read_json(content: Extent, what: str) -> Any:
    """Return the value of a JSON text."""
    if content.size > JSON_LIMIT_BYTES:
        raise ImageSizeError(f"cannot read image: {what:.80} is too long")
    try:
        return parse_json(content.read_at(0, content.size))
    except JsonError as exc:
        raise ImageError(f"cannot read image: {what:.80}: {exc}") from exc


def _are_same(one: Member, other: Member) -> bool:
    if one.kind is other.kind is MemberKind.FOLDER:
        return True
    same = (one.kind, one.link, one.content.size) == (other.kind, other.link, other.content.size)
    return same and one.content.sha256() == other.content.sha256()


def _verify(content: Extent, algorithm: str, expected: str, name: str) -> None:
    digest = hashlib.new(algorithm)
    for chunk in content.chunks():
        digest.update(chunk)
    if digest.hexdigest() != expected:
        raise ImageError(f"cannot read image: {name:.90} does not have the digest in its name")
