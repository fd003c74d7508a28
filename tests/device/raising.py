"""Replaces pytest.raises on MicroPython, where there is no pytest."""

TYPE_CHECKING = False  # there is no typing module on MicroPython either
if TYPE_CHECKING:
    from collections.abc import Callable


def raised(kind: type[Exception], function: "Callable[..., object]", *args: object) -> str:
    """Return the message of the exception that the call must raise."""
    try:
        function(*args)
    except kind as exc:
        return str(exc)
    raise AssertionError("nothing was raised")
