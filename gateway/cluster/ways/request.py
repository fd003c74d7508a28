"""Encodes the first bytes of a way: an HTTP CONNECT request and its answer (RFC 9110, 9.3.6). Pure.

The request names the place in the cloud and carries the proof that admits its sender. The stream
follows an answer of 200. TLS between the member and the cloud runs inside it.
"""

from dataclasses import dataclass

from gateway.cluster.calls.protocol import PROOF_HEADER
from protocol.errors import WireError

WAY = "hecate-way/1"  # ALPN
HEAD_LIMIT_BYTES = 64 * 1024  # of a request, with a credential
REASON_LIMIT = 200
END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class WayRequest:
    """A member asks for a stream to a place in the cloud."""

    target: str  # host:port
    proof: str = ""


def encode_request(request: WayRequest) -> bytes:
    """Return the head of a request."""
    lines = [f"CONNECT {request.target} HTTP/1.1", f"Host: {request.target}"]
    if request.proof:
        lines.append(f"{PROOF_HEADER}: {request.proof}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def decode_request(head: bytes) -> WayRequest:
    """Return the request in a head; WireError when it is not one."""
    first, *lines = _split(head)
    words = first.split(" ")
    if len(words) != 3 or words[0] != "CONNECT" or not words[2].startswith("HTTP/1."):
        raise WireError("cannot read request for a way: not CONNECT")
    proofs = [value.strip() for name, _, value in (line.partition(":") for line in lines)
              if name.lower() == PROOF_HEADER]  # fmt: skip
    if len(proofs) > 1:
        raise WireError("cannot read request for a way: several proofs")
    return WayRequest(words[1], proofs[0] if proofs else "")


def encode_answer(status: int, reason: str = "OK") -> bytes:
    """Return the head of an answer."""
    text = "".join(each for each in reason if each.isprintable())[:REASON_LIMIT]
    return f"HTTP/1.1 {status} {text}\r\n\r\n".encode("latin-1", "replace")


def decode_answer(head: bytes) -> str:
    """Return why there is no way, "" when there is one; WireError for another head."""
    version, _, rest = _split(head)[0].partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise WireError("cannot read answer about a way: not HTTP")
    return "" if status == "200" else reason or f"HTTP {status}"


def _split(head: bytes) -> list[str]:
    if not head.endswith(END):
        raise WireError("cannot read head of a way: it goes on")
    return head[: -len(END)].decode("latin-1").split("\r\n")
