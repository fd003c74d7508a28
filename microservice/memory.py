"""Detects that memory ran out, and names the setting to change.

The limit is on address space (RLIMIT_AS), so exhaustion has several forms: MemoryError, ENOMEM of
a system call, a library that cannot be mapped, a thread that cannot be started.
"""

import errno

CAUSES_LIMIT = 8  # an exception may name itself as its cause, in a circle
_SIGNS = ("failed to map segment", "cannot allocate memory", "can't start new thread")


def is_out_of_memory(exc: BaseException) -> bool:
    """Return whether an exception, or one of its causes, means that memory ran out."""
    one: BaseException | None = exc
    for _ in range(CAUSES_LIMIT):
        if one is None:
            return False
        if isinstance(one, MemoryError) or getattr(one, "errno", None) == errno.ENOMEM:
            return True
        if isinstance(one, ImportError | RuntimeError) and _has_sign(str(one)):
            return True
        one = one.__cause__ or one.__context__
    return False


def explain_memory(memory_mib: int) -> str:
    """Return which setting is too small."""
    return f"out of memory: [limits] memory_mib = {memory_mib} of microservice.toml is too small"


def _has_sign(text: str) -> bool:
    return any(sign in text.lower() for sign in _SIGNS)
