"""Detects that memory ran out, and names the setting to change.

The limit is on address space (RLIMIT_AS), so exhaustion has several forms: MemoryError, ENOMEM of
a system call, a library that cannot be mapped, a thread that cannot be started. The system tells
in the same way that there is no memory for a thread and that there are too many threads.
"""

import errno
from collections.abc import Iterator

CAUSES_LIMIT = 8  # an exception may name itself as its cause, in a circle
_NO_THREAD = "can't start new thread"
_SIGNS = ("failed to map segment", "cannot allocate memory", _NO_THREAD)


def is_out_of_memory(exc: BaseException) -> bool:
    """Return whether an exception, or one of its causes, means that memory ran out."""
    return any(
        isinstance(one, MemoryError)
        or getattr(one, "errno", None) == errno.ENOMEM
        or (isinstance(one, ImportError | RuntimeError) and _has_sign(str(one)))
        for one in _with_causes(exc)
    )


def explain_memory(memory_mib: int, exc: BaseException | None = None) -> str:
    """Return which setting is too small."""
    setting = f"[limits] memory_mib = {memory_mib}"
    if exc is not None and any(_NO_THREAD in str(one) for one in _with_causes(exc)):
        return f"no thread can start: {setting} or processes of microservice.toml is too small"
    return f"out of memory: {setting} of microservice.toml is too small"


def _with_causes(exc: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = exc
    for _ in range(CAUSES_LIMIT):
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__


def _has_sign(text: str) -> bool:
    return any(sign in text.lower() for sign in _SIGNS)
