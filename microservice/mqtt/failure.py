"""Describes in the developer's terms why a handler failed, and where."""

import traceback
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microservice.errors import MicroserviceError
from microservice.mqtt import dead_letters as names
from microservice.mqtt.wire import Incoming, MessageProperties

if TYPE_CHECKING:
    from types import FrameType

DEPTH = 50  # awaits within awaits that are followed


@dataclass(frozen=True, slots=True)
class HandlerFailure:
    """The reason of a failure in one line, and its trace."""

    error: str
    trace: str = ""


def describe_error(exc: BaseException, code: Path) -> HandlerFailure:
    """Return a failure by an exception; the line is the last one in the developer's code.

    The trace begins in the developer's code. An error of the kit that never was there, such as that
    of a script, says all in its text.
    """
    where, first = "", exc.__traceback__
    while first is not None and not _is_below(first.tb_frame.f_code.co_filename, code):
        first = first.tb_next
    for frame in traceback.extract_tb(exc.__traceback__):
        if _is_below(frame.filename, code):
            where = f" ({Path(frame.filename).relative_to(code)}, line {frame.lineno})"
    if first is None and isinstance(exc, MicroserviceError):
        return HandlerFailure(f"{type(exc).__name__}: {exc}")
    lines = traceback.format_exception(type(exc), exc, first or exc.__traceback__)
    return HandlerFailure(
        f"{type(exc).__name__}: {exc}{where}", "".join(lines)[-names.TRACE_LIMIT :]
    )


def describe_overdue(
    coroutine: Coroutine[Any, Any, Any], limit_s: float, code: Path
) -> HandlerFailure:
    """Return the failure of a handler that still runs at its limit, with the line it waits at."""
    frames: list[FrameType] = []
    awaited: Any = coroutine
    for _ in range(DEPTH):
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            break
        frames.append(frame)
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    own = [each for each in frames if _is_below(each.f_code.co_filename, code)]
    where = ""
    if own:
        path = Path(own[-1].f_code.co_filename).relative_to(code)
        where = f" ({path}, line {own[-1].f_lineno})"
    trace = "".join(
        f'  File "{each.f_code.co_filename}", line {each.f_lineno}, in {each.f_code.co_name}\n'
        for each in frames
    )
    return HandlerFailure(
        f"TimeoutError: it was ended at its limit of {limit_s:g} s{where}",
        trace[-names.TRACE_LIMIT :],
    )


def describe_ends(ends: int) -> HandlerFailure:
    """Return the failure of a message whose handlers have ended the process."""
    times = "once" if ends == 1 else f"{ends} times"
    return HandlerFailure(
        f"ProcessEnded: the process ended {times} while it handled this message; "
        "the log and `hecate ps` have the reasons"
    )


def letter_properties(message: Incoming, failure: HandlerFailure, tries: int) -> MessageProperties:
    """Return the properties of the dead letter of a message."""
    came_with = message.properties
    retain = message.retain or names.find_pair(came_with.user, names.RETAIN) == "1"
    pairs = (
        (names.TOPIC, message.topic),
        (names.QOS, str(message.qos)),
        (names.RETAIN, "1" if retain else "0"),
        (names.ERROR, _printable(failure.error)[: names.ERROR_LIMIT]),
        (names.TRACE, _printable(failure.trace)),
        (names.TRIES, str(tries + past_tries(message))),
        *names.drop_own_pairs(came_with.user),
    )
    return MessageProperties(
        pairs, came_with.content_type, came_with.response_topic, came_with.correlation
    )


def past_tries(message: Incoming) -> int:
    """Return how often handlers were called for a message before it was retried."""
    tries = names.find_pair(message.properties.user, names.TRIES)
    return int(tries) if tries.isdecimal() else 0


def _is_below(file: str, code: Path) -> bool:
    return Path(file).is_relative_to(code)


def _printable(text: str) -> str:
    """Return a text that MQTT takes: no surrogates, no U+0000."""
    return text.encode(errors="replace").decode().replace("\0", "")
