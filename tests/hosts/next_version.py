"""Runs a gateway of the next protocol version: its frames and TXT records hold more fields.

What a later version may do: a higher version number, more fields of any type in each frame, more
parts of a rank, more keys in the TXT record.
"""

import sys
from typing import Any

import gateway.cluster.discovery.service as discovery
from gateway.cli import serve
from gateway.cluster.discovery.txt import Announcement, encode_txt
from gateway.cluster.links import frames

_to_map = frames._to_map


def _to_later_map(frame: frames.Frame) -> dict[str, Any]:
    fields = _to_map(frame)
    if "v" in fields:
        fields["v"] = frames.VERSION + 1
    if "rank" in fields:
        fields["rank"] = [*fields["rank"], "gold"]
    return {**fields, "later": {"list": [1, 2.5, b"\x00"], "none": None}, "x" * 200: True}


def _encode_later_txt(announcement: Announcement) -> dict[str, str]:
    return {**encode_txt(announcement), "v": "2", "later": "yes"}


if __name__ == "__main__":
    frames._to_map = _to_later_map
    discovery.encode_txt = _encode_later_txt  # type: ignore[attr-defined]
    sys.exit(serve.main(sys.argv[1:]))
