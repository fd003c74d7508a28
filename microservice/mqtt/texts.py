"""Checks the texts of a message before they are sent.

A broker ends the connection for a malformed packet (MQTT 5, 4.13), and the client would send the
message again on the next one, for ever: nothing else could be published.
"""

import re
from collections.abc import Iterable

from microservice.errors import PublishError

TEXT_BYTES = 65_535  # MQTT 5, 1.5.4
_WILDCARD_OR_CONTROL = re.compile("[+#\\x00-\\x1f\\x7f-\\x9f]")  # the gateway's broker takes none


def check_topic(topic: str) -> None:
    """Return when a topic may be that of a message; PublishError when it may not."""
    if not isinstance(topic, str) or not topic or _WILDCARD_OR_CONTROL.search(topic):
        raise PublishError(
            f"cannot publish to {topic!r:.100}: it is no topic of a message, which has no +, no #, "
            "no control character"
        )
    check_text("the topic", topic)


def check_text(what: str, text: object) -> None:
    """Return when MQTT can carry a text; PublishError when it cannot."""
    why = ""
    if not isinstance(text, str):
        why = f"it is no text, but {type(text).__name__}"
    elif "\0" in text:
        why = "it holds U+0000"
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            why = "it holds a surrogate, which UTF-8 does not have"
        else:
            why = f"it has {size} bytes, of at most {TEXT_BYTES}" if size > TEXT_BYTES else ""
    if why:
        raise PublishError(f"cannot publish: {what}: {why}")


def check_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Return when pairs may be user properties; PublishError when they may not."""
    for name, value in pairs:
        check_text("the name of a user property", name)
        check_text(f"user property {name:.40}", value)
