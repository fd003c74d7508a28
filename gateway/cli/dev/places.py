"""Names the developer's own files in what a container prints: it runs a copy elsewhere. Pure.

File "/…/contents/<digest>/service.py", line 7   ->  File "hello/service.py", line 7
at greet (index.js:12:5)                         ->  at greet (hello/index.js:12:5)
"""

import re
from collections.abc import Set
from pathlib import PurePath

_PLACE = re.compile(
    r"""(?P<path>[\w./@+-]*[\w@+-]+\.(?:py|js|mjs|ts))  # a file of code
        (?P<after>"|:\d|,\ line\ \d)                    # followed by its line
    """,
    re.VERBOSE,
)


def name_places(text: str, folder: str, files: Set[str]) -> str:
    """Return a text in which paths of the container are those of the developer's folder.

    Args:
        text: a line of a log, or an error.
        folder: as the developer has typed it.
        files: the paths in the folder; others stay as they are.
    """

    def rename(found: re.Match[str]) -> str:
        own = _own_file(found["path"], files)
        if own is None:
            return found[0]
        path = own if folder in ("", ".") else f"{folder.rstrip('/')}/{own}"
        return f"{path}{found['after']}"

    return _PLACE.sub(rename, text)


def _own_file(path: str, files: Set[str]) -> str | None:
    """Return the longest end of a path that is a file of the folder."""
    parts = PurePath(path).parts
    for start in range(len(parts)):
        end = "/".join(parts[start:])
        if end in files:
            return end
    return None
