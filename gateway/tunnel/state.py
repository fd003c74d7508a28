"""Decides how one BEP follows its control connection, and counts its data connections. Pure.

Theory of operation
-------------------
The caller owns the sockets; `now` is its monotonic clock. Rules that hold after every call:

1. The phase is CONNECTING until the relay first accepts, OPEN while the control connection is up,
   BROKEN until it is up again, and ENDED for good: expired, ended or refused by the relay.
2. `spare` counts data connections that open or wait for a visitor. A new one replaces each that
   a visitor takes; NEED requests more. spare + streams never exceeds the limit.
3. A reconnection resets `spare`, because the relay has dropped the earlier data connections. A
   report on a data connection names its generation, which each reconnection increments.
4. The relay decides when a BEP ends, unless it is silent or the BEP is past its expiry.
"""

from enum import StrEnum

from gateway.tunnel.limits import TunnelLimits
from protocol.errors import WireError
from protocol.preface import (
    FRAME_BYTES,
    EndReason,
    FrameType,
    PrefaceStatus,
    decode_frame,
    encode_frame,
)

EXPIRY_LEEWAY_S = 30.0  # the clock of the relay decides; this one may be ahead


class TunnelPhase(StrEnum):
    """The phases of a BEP."""

    CONNECTING = "connecting"
    OPEN = "open"
    BROKEN = "broken"
    ENDED = "ended"


class TunnelState:
    """One BEP."""

    def __init__(self, limits: TunnelLimits, now: float, lasts_s: float) -> None:
        self._limits = limits
        self._expires = now + lasts_s + EXPIRY_LEEWAY_S
        self._last_heard = now
        self._received = b""
        self._output = b""
        self._needed = 0
        self.state = TunnelPhase.CONNECTING
        self.why = ""  # the cause of BROKEN or ENDED
        self.generation = 0
        self.spare = 0
        self.streams = 0
        self.visitors_total = 0
        self.bytes_total = 0  # of visitors that have disconnected

    @property
    def done(self) -> bool:
        """True when it has ended."""
        return self.state is TunnelPhase.ENDED

    @property
    def deadline(self) -> float:
        """The time of the next tick()."""
        if self.state is TunnelPhase.OPEN:
            return min(self._expires, self._last_heard + self._limits.silence_s)
        return self._expires

    def accepted(self, now: float) -> None:
        """Note that the relay accepted a control connection."""
        if self.state is TunnelPhase.ENDED:
            return
        self.state, self.why = TunnelPhase.OPEN, ""
        self._last_heard = now
        self._received = self._output = b""
        self._needed = self.spare = 0
        self.generation += 1

    def refused(self, status: PrefaceStatus) -> None:
        """Note that the relay refused a control connection."""
        if status is PrefaceStatus.LIMIT:
            self._break("the relay is full")
        else:
            self._end(f"the relay refused: {status.name}")

    def lost(self, why: str) -> None:
        """Note that the control connection is gone."""
        self._break(why)

    def receive(self, data: bytes, now: float) -> None:
        """Handle bytes of the control connection, b"" at its end."""
        if not data:
            self._break("the relay closed the control connection")
            return
        self._last_heard = now
        self._received += data
        while len(self._received) >= FRAME_BYTES and self.state is TunnelPhase.OPEN:
            frame, self._received = (
                self._received[:FRAME_BYTES],
                self._received[FRAME_BYTES:],
            )
            try:
                self._take(*decode_frame(frame))
            except WireError as exc:
                self._break(str(exc))

    def tick(self, now: float) -> None:
        """End or break the BEP when its deadline has passed."""
        if now >= self._expires:
            self._end("it has expired")
        elif self.state is TunnelPhase.OPEN and now >= self.deadline:
            self._break("the relay is silent")

    def take_output(self) -> bytes:
        """Return, once, the bytes to send on the control connection."""
        output, self._output = self._output, b""
        return output

    def take_wanted(self) -> int:
        """Return, once, the number of data connections to open; they count as spare."""
        if self.state is not TunnelPhase.OPEN:
            return 0
        free = self._limits.streams - self.spare - self.streams
        wanted = max(self._limits.ready - self.spare, 0, self._needed)
        count = max(min(wanted, free), 0)
        self.spare += count
        self._needed = 0
        return count

    def taken(self, generation: int) -> None:
        """Note that a visitor has taken a data connection."""
        self.gone(generation)
        self.streams += 1
        self.visitors_total += 1

    def gone(self, generation: int) -> None:
        """Note that a data connection will bring no visitor."""
        if generation == self.generation and self.spare:
            self.spare -= 1

    def visitor_closed(self, moved: int) -> None:
        """Note that a visitor has disconnected after a number of bytes."""
        self.streams -= 1
        self.bytes_total += moved

    def end(self) -> None:
        """Note that the gateway ends the BEP."""
        self._end("closed")

    def _take(self, kind: FrameType, value: int) -> None:
        match kind:
            case FrameType.NEED:
                self._needed = min(self._needed + value, self._limits.streams)
            case FrameType.PING:
                self._output = encode_frame(FrameType.PING, value)  # one answer is enough
            case FrameType.END if value == EndReason.RELAY_STOPS:
                self._break("the relay stops")  # another process may replace it
            case FrameType.END:
                names = {int(reason): reason.name.lower() for reason in EndReason}
                self._end(f"the relay ended it: {names.get(value, value)}")

    def _break(self, why: str) -> None:
        if self.state is not TunnelPhase.ENDED:
            self.state, self.why = TunnelPhase.BROKEN, why

    def _end(self, why: str) -> None:
        if self.state is not TunnelPhase.ENDED:
            self.state, self.why = TunnelPhase.ENDED, why
