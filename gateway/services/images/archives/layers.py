"""Merges the layers of an image into one tree of files.

Theory of operation
-------------------
The tree is held in memory; the disk sees no link. add_layer() applies one layer to the tree of the
layers below it: first its whiteouts, which hide only what is below, then its files. files() then
replaces each link by the file or folder that it leads to, within the image.

Four rules hold after every call:

1. Every path lies inside the image, and no entry goes through a link.
2. A link in the result leads to nothing outside; one that does refuses the image, by name.
3. At most limits.files entries are added, and at most limits.files files result, with at most
   limits.content_bytes. Links to folders cannot multiply beyond that, nor go round in circles, nor
   take more than STEPS_LIMIT steps.
4. One layer describes a path once, or twice with the same bytes.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from gateway.services.errors import ImageError, ImageSizeError
from gateway.services.images.archives.extent import Extent
from gateway.services.images.archives.paths import read_path, resolve_link
from gateway.services.images.archives.tars import Member, MemberKind
from gateway.services.images.limits import ImageLimits

JUNK_PREFIX = "._"  # macOS puts extended attributes into tars under such names
PACKAGE_FOLDERS = frozenset({"node_modules", "packages", "site-packages"})
WHITEOUT, OPAQUE, AUFS_PREFIX = ".wh.", ".wh..wh..opq", ".wh..wh."
LINK_HOPS = 16
LINK_LIMIT = 400  # characters; with the hops, a bound on the work for one link
DEPTH_LIMIT = 100
STEPS_LIMIT = 1_000_000  # through folders and links; a second of work

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageLink:
    """A symbolic link."""

    target: str


Folder = dict[str, "Node"]
Node = Folder | Extent | ImageLink


class LayerTree:
    """The files of some layers, the upper ones above the lower."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits
        self._root: Folder = {}
        self._entries = 0
        self._bytes = self._files = 0  # of the result
        self._steps = 0

    def add_layer(self, members: Iterable[Member]) -> None:
        """Put one layer above the present ones."""
        entries: list[tuple[Parts, Member]] = []
        for member in members:
            self._entries += 1
            if self._entries > self._limits.files:
                raise ImageSizeError(f"cannot read image: more than {self._limits.files} files")
            parts = read_path(member.name)
            if parts and not parts[-1].startswith(JUNK_PREFIX):
                entries.append((parts, member))
        for parts, member in entries:
            if _is_whiteout(parts, member):
                self._hide(parts)
        added: dict[Parts, Member] = {}
        for parts, member in entries:
            if not _is_whiteout(parts, member):
                before = added.setdefault(parts, member)
                if before is not member:
                    _check_same(before, member)
                self._add(parts, member)

    def find(self, parts: Parts) -> Node | None:
        """Return what is at a path, links followed; None for nothing, ImageError for a bad link."""
        try:
            folder, place = self._follow_to(parts[:-1], 0)
        except LookupError:
            return None
        node = folder.get(parts[-1]) if isinstance(folder, dict) else None
        return self._target(node, (*place, parts[-1]))[0] if isinstance(node, ImageLink) else node

    def folders_with(self, names: Collection[str]) -> list[Parts]:
        """Return the folders that hold a file of one of these names, without those of packages."""
        found: list[Parts] = []
        ahead: list[tuple[Parts, Folder]] = [((), self._root)]
        while ahead:
            place, folder = ahead.pop()
            if any(isinstance(folder.get(name), Extent) for name in names):
                found.append(place)
            ahead += [
                ((*place, name), node)
                for name, node in folder.items()
                if isinstance(node, dict) and name not in PACKAGE_FOLDERS
            ]
        return found

    def files(self, root: Parts) -> Iterator[tuple[Parts, Extent]]:
        """Yield the files below a folder, with paths from there, links replaced."""
        top, place = self._follow_to(root, 0)
        if isinstance(top, dict):
            yield from self._walk(top, place, (), (id(top),))

    def _add(self, parts: Parts, member: Member) -> None:
        if len(member.link) > LINK_LIMIT:
            raise ImageError(f"cannot read image: the link {member.name:.80} is too long")
        folder = self._folder(parts[:-1], member.name)
        name = parts[-1]
        match member.kind:
            case MemberKind.FOLDER:
                if not isinstance(folder.get(name), dict):
                    folder[name] = {}
            case MemberKind.FILE:
                folder[name] = member.content
            case MemberKind.SYMLINK:
                folder[name] = ImageLink(member.link)
            case MemberKind.HARD_LINK:
                folder[name] = self._linked(member)
            case MemberKind.DEVICE:
                raise ImageError(f"cannot read image: {member.name:.80} is a device")

    def _folder(self, parts: Parts, what: str) -> Folder:
        folder = self._root
        for part in parts:
            below = folder.setdefault(part, {})
            if isinstance(below, Extent | ImageLink):
                raise ImageError(f"cannot read image: {what:.80} goes through a link or a file")
            folder = below
        return folder

    def _linked(self, member: Member) -> Extent | ImageLink:
        """Return the target of a hard link, which came before it or is in a layer below."""
        node: Node | None = self._root
        for part in read_path(member.link.removeprefix("/")):
            node = node.get(part) if isinstance(node, dict) else None
        if node is None or isinstance(node, dict):
            raise _broken(member.name, member.link)
        return node

    def _hide(self, parts: Parts) -> None:
        *folders, name = parts
        folder: Node | None = self._root
        for part in folders:
            folder = folder.get(part) if isinstance(folder, dict) else None
        if not isinstance(folder, dict):
            return
        if name == OPAQUE:
            folder.clear()
        elif not name.startswith(AUFS_PREFIX):
            hidden = name.removeprefix(WHITEOUT)
            if hidden in ("", ".", ".."):
                raise ImageError(f"cannot read image: {name!r} hides no file")
            folder.pop(hidden, None)

    def _walk(
        self, folder: Folder, place: Parts, path: Parts, inside: tuple[int, ...]
    ) -> Iterator[tuple[Parts, Extent]]:
        """Yield the files of a folder.

        Args:
            folder: the folder.
            place: its path in the image, where its links begin.
            path: its path in the result; another one below a link.
            inside: the ids of the folders that lead here.
        """
        for name, node in folder.items():
            self._step()
            here, below = (*place, name), (*path, name)
            found, at = node, here
            if isinstance(node, ImageLink):
                found, at = self._target(node, here)
            if isinstance(found, Extent):
                self._count(found)
                yield below, found
            elif isinstance(found, dict):
                if id(found) in inside or len(inside) > DEPTH_LIMIT:
                    raise ImageError(f"cannot read image: {'/'.join(here)} leads in a circle")
                yield from self._walk(found, at, below, (*inside, id(found)))

    def _count(self, file: Extent) -> None:
        self._files += 1
        self._bytes += file.size
        if self._files > self._limits.files or self._bytes > self._limits.content_bytes:
            raise ImageSizeError(
                f"cannot read image: more than {self._limits.files} files "
                f"or {self._limits.content_bytes} bytes"
            )

    def _target(self, link: ImageLink, here: Parts) -> tuple[Node, Parts]:
        """Return where a link leads, and the path of that."""
        try:
            return self._follow_to(here, 0)
        except LookupError as exc:
            raise _broken("/".join(here), link.target) from exc

    def _follow_to(self, parts: Parts, hops: int) -> tuple[Node, Parts]:
        """Return what is at a path, and its path without links; LookupError for nothing."""
        node: Node = self._root
        for position, part in enumerate(parts):
            self._step()
            if not isinstance(node, dict):
                raise KeyError(part)
            node = node[part]
            if isinstance(node, ImageLink):
                place = parts[: position + 1]
                if hops >= LINK_HOPS:
                    raise ImageError(f"cannot read image: {'/'.join(place)} leads in a circle")
                target = resolve_link(place[:-1], node.target)
                if target is None:
                    raise ImageError(
                        f"cannot read image: the link {'/'.join(place):.80} leads outside"
                    )
                return self._follow_to(target + parts[position + 1 :], hops + 1)
        return node, parts

    def _step(self) -> None:
        self._steps += 1
        if self._steps > STEPS_LIMIT:
            raise ImageSizeError(f"cannot read image: its links take over {STEPS_LIMIT} steps")


def _is_whiteout(parts: Parts, member: Member) -> bool:
    """Return whether a member hides another one: whatever its kind, as other readers judge it."""
    if any(part.startswith(WHITEOUT) for part in parts[:-1]):
        raise ImageError(f"cannot read image: {member.name:.80} is below a whiteout")
    return parts[-1].startswith(WHITEOUT)


def _check_same(one: Member, other: Member) -> None:
    """Return if two entries of a path say the same: a reader that takes the first must agree."""
    same = (one.kind, one.link, one.content.size) == (other.kind, other.link, other.content.size)
    if not same or one.content.sha256() != other.content.sha256():
        raise ImageError(f"cannot read image: {one.name:.80} is in it twice")


def _broken(name: str, target: str) -> ImageError:
    return ImageError(
        f"cannot read image: {name:.80} is a link to {target:.80}, which is not in the image"
    )
