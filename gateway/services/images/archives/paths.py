"""Checks the paths of an image's files: what a path may be, and where a link leads."""

from pathlib import PurePosixPath

from gateway.services.errors import ImageError

NAME_LIMIT = 200  # characters of a path inside an image
ROOT_NAMES = ("", ".")


def read_path(name: str) -> tuple[str, ...]:
    """Return the parts of a member's path, () for the root.

    Raises:
        ImageError: it is absolute, leads outside, is too long, or no text for a person.
    """
    parts = tuple(part for part in name.split("/") if part not in ROOT_NAMES)
    if (
        (name.startswith("/") and parts)  # umoci writes the root as /
        or ".." in parts
        or len(name) > NAME_LIMIT
        or not name.isprintable()  # no control characters, no surrogates
        or "\\" in name
    ):
        raise ImageError(f"cannot read image: {name!r:.80} is not a path inside it")
    return parts


def resolve_link(folder: tuple[str, ...], target: str) -> tuple[str, ...] | None:
    """Return the path that a link in a folder names; None when it leaves the root.

    Links within the path are not followed. An absolute target begins at the root of the image,
    as it does in a container.
    """
    path = [] if target.startswith("/") else list(folder)
    for part in target.split("/"):
        if part == "..":
            if not path:
                return None
            path.pop()
        elif part not in ROOT_NAMES:
            path.append(part)
    return tuple(path)


def as_path(parts: tuple[str, ...]) -> PurePosixPath:
    """Return the path of parts."""
    return PurePosixPath(*parts)
