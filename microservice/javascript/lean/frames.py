"""Encodes the frames between front and child: a length in four bytes, then text in UTF-8.

The first character says what the text is for; JSON follows:

    child                              front
                                   ←   @  the request
    !  something to do             →
    ?  something to answer         →
                                   ←   =  the answer to ?, at once and in order
                                   ←   *  an event of an earlier call, such as a piece of HTTP

A closed socket ends the request. The front does not trust the child: it limits a frame's length.
"""

import base64
from typing import Any

HEAD_BYTES = 4
FRAME_LIMIT_BYTES = 8 * 1024 * 1024  # from a child: a value of the storage, escaped

REQUEST, DO, ASK, ANSWER, EVENT = "@", "!", "?", "=", "*"


def encode_frame(text: str) -> bytes:
    """Return the bytes of a frame."""
    body = text.encode("utf-8", "replace")
    return len(body).to_bytes(HEAD_BYTES, "big") + body


def frame_bytes(head: bytes) -> int:
    """Return the length that a frame's first four bytes tell."""
    return int.from_bytes(head, "big")


def data_of(frame: dict[str, Any]) -> bytes:
    """Return the bytes that the JSON of a frame carries as text or in base64."""
    if "text" in frame:
        text = frame["text"]
        if not isinstance(text, str):
            raise ValueError("its text is none")
        return text.encode("utf-8", "replace")
    return base64.b64decode(frame["base64"], validate=True)
