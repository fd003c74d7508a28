"""Runs Mosquitto's packet sequences: python sequence_runner.py SUITE_FILE HOST PORT [DATA ...].

The suite's own loop is used; around it: each sequence is told as it ends, and a time-out fails
one sequence and not the run. Of a CONNACK and a DISCONNECT only what the standard fixes is
compared: type, session present and reason. Their properties are the broker's own (the data holds
the limits Mosquitto announces, and no reason strings), and a packet with two faults may be
called malformed or a protocol error. Where a connection must end, a broker need not say why, and
may where the data expects it to be silent.
What differs in these alone is told as passed, not exact.
"""

import runpy
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conformance.suites import Outcome, encode_outcome

CONNACK, DISCONNECT = 0x20, 0xE0
MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
LONG = 0x80  # a length of more than one byte begins so


class _EndError(ValueError):
    """The broker has closed the connection; the suite's loop takes it for a failed case."""


_differs = [False]  # true if the running sequence got another packet than the expected


def main() -> None:
    """Run the sequences of the files named, or of all."""
    suite, host, port, *files = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr
    sys.argv = [suite]
    sys.path.insert(0, str(Path(suite).parent))
    loaded = runpy.run_path(suite, run_name="msg_sequence_test")
    sequence = loaded["MsgSequence"]
    sequence.process_all = _telling(sequence.process_all, lambda line: _print(line, answers))
    sequence._recv_message = _lenient(sequence._recv_message)
    sequence._disconnected_check = _check_end
    if files:
        loaded["do_test"].__globals__["walk"] = lambda path: [(path, [], files)]
    loaded["do_test"](host, int(port), "mqtt")


def _print(line: str, answers: Any) -> None:
    print(line, file=answers, flush=True)


def _telling(process_all: Callable[..., None], tell: Callable[[str], None]) -> Callable[..., None]:
    def wrapped(self: Any, sock: socket.socket) -> None:
        case, why = f"v{self.proto_ver} {self.name}", ""
        _differs[0] = False
        try:
            process_all(self, sock)
        except TimeoutError as exc:
            why = "no answer in time"
            raise ValueError(why) from exc
        except Exception as exc:
            why = f"{type(exc).__name__}: {exc}"
            raise
        finally:
            tell(encode_outcome(Outcome(case, not why, not why and not _differs[0], why)))

    return wrapped


def _lenient(receive: Callable[..., None]) -> Callable[..., None]:
    def wrapped(self: Any, sock: socket.socket, message: Any) -> None:
        expected = message.message
        if not expected or expected[0] not in {CONNACK, DISCONNECT}:
            receive(self, sock, message)
            return
        try:
            got = _take_packet(sock)
        except (_EndError, ConnectionResetError):
            if not _is_refusal(expected):
                raise
            got = expected
            _differs[0] = True
        if got == expected:
            return
        _differs[0] = True
        if _essence(got) != _essence(expected):
            raise ValueError(f"{message.comment}: got {got.hex()}, expected {expected.hex()}")

    return wrapped


def _check_end(_: Any, sock: socket.socket) -> None:
    """Take what the broker says last, and the end of the connection."""
    try:
        while first := sock.recv(1):
            packet = _take_packet(sock, first)
            if not _is_refusal(packet):
                raise ValueError(f"still connected: got {packet.hex()}")
            _differs[0] = True
    except ConnectionResetError:
        pass


def _is_refusal(packet: bytes) -> bool:
    return packet[0] == DISCONNECT or (packet[0] == CONNACK and packet[3:4] != b"\x00")


def _essence(packet: bytes) -> tuple[int, ...]:
    """Return what the standard fixes: the type, and of the rest what follows from it."""
    if packet[:1] == bytes((CONNACK,)):
        flags, code = packet[2:4]
    else:
        flags, code = 0, packet[2] if len(packet) > 2 else 0
    return packet[0], flags, MALFORMED if code == PROTOCOL_ERROR else code


def _take_packet(sock: socket.socket, first: bytes = b"") -> bytes:
    head = first + _take(sock, 2 - len(first))
    length, shift = head[1] & ~LONG, 7
    while head[-1] & LONG:
        head += _take(sock, 1)
        length |= (head[-1] & ~LONG) << shift
        shift += 7
    return head + _take(sock, length)


def _take(sock: socket.socket, size: int) -> bytes:
    taken = b""
    while len(taken) < size:
        fresh = sock.recv(size - len(taken))
        if not fresh:
            raise _EndError(f"connection closed after {taken.hex() or 'nothing'}")
        taken += fresh
    return taken


if __name__ == "__main__":
    main()
