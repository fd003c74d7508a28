"""Explains why a handler gave no answer. Pure."""

import re
import signal
from dataclasses import dataclass

ENTRY_FILE = "index.js"
TIME, MEMORY, UNANSWERED, ERROR = "time", "memory", "unanswered", "error"
GOING_ON = frozenset({"uncaught", "rejection"})  # the request may still be answered
HIDDEN = "the handler failed, see the container's log"

_OTHER_EXPORTS = re.compile(r"(module|exports) is not defined|mimikModule\.exports is ")
_MODULES = re.compile(r"require is not defined|^SyntaxError: .*\b(import|export)\b")
_PLACE = re.compile(r"index\.js:(\d+)")
_OURS = re.compile(r"\(hecate:|at hecate:|at __\w+ \(|<anonymous> \(native\)$")


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The limits of one request, as they are named in messages."""

    limit_s: float
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure: its kind, and the stack of the script or what it waited for."""

    kind: str
    text: str = ""

    def place(self) -> str:
        """Return the line of the script, such as index.js:12; "" when it is not known."""
        found = _PLACE.search(self.text)
        return f"{ENTRY_FILE}:{found[1]}" if found else ""

    def reason(self, ceilings: Ceilings) -> str:
        """Return the reason in one line, for the log."""
        at = f" at {self.place()}" if self.place() else ""
        if self.kind == TIME:
            waits = f" ({self.text})" if self.text.startswith("waits for") else ""
            return f"time limit of {ceilings.limit_s:g} s{at or ' in native code'}{waits}"
        if self.kind == MEMORY:
            return f"out of memory{at}: {_memory(ceilings)}"
        if self.kind == UNANSWERED:
            return "the handler ended without response: nothing is pending that could end it"
        return self.text.split("\n", 1)[0] + (f" ({self.place()})" if self.place() else "")

    def answer(self, ceilings: Ceilings) -> str:
        """Return what the caller may know: limits, but no text of the script."""
        if self.kind == TIME:
            return f"time limit of {ceilings.limit_s:g} s"
        if self.kind == MEMORY:
            return f"out of memory: {_memory(ceilings)}"
        if self.kind == UNANSWERED:
            return "the handler ended without response"
        return HIDDEN

    def stack(self) -> str:
        """Return the further lines of the message, and the script's own lines of the stack.

        None of them can be taken for a line of the log.
        """
        lines = [line for line in self.text.replace("\r", "").split("\n")[1:] if line.strip()]
        own = [line for line in lines if not _OURS.search(line)]
        return "\n".join(line if line.startswith("    ") else f"    {line}" for line in own)


def explain_loading(text: str) -> str:
    """Return in one line why index.js cannot be loaded; text is the reason, then the stack."""
    place = _PLACE.search(text)
    reason = text.split("\n", 1)[0] or "its process ended"
    where = f" ({ENTRY_FILE}, line {place[1]})" if place else ""
    return f"cannot load {ENTRY_FILE}: {reason}{where}{_next_step(reason)}"


def _next_step(reason: str) -> str:
    """Return what helps against mistakes of a first index.js; "" for others."""
    if _OTHER_EXPORTS.search(reason):
        return "; begin with: mimikModule.exports = (context, request, response) => { … }"
    if _MODULES.search(reason):
        return "; there are no modules: pack index.js and what it uses into one file by a bundler"
    return ""


def fault_of_end(status: int) -> Fault:
    """Return the fault of a child that ended without telling one; status is waitpid's."""
    number = status & 0x7F
    if number == signal.SIGALRM:
        return Fault(TIME)
    if number == signal.SIGKILL:  # by the kernel: the front tells it when it ends a child itself
        return Fault(MEMORY)
    if number:
        return Fault(ERROR, f"its process was ended by {signal.Signals(number).name}")
    if status >> 8 == 255:
        return Fault(ERROR, "it could not be started: too many processes, or no memory")
    return Fault(ERROR, "its process ended")


def _memory(ceilings: Ceilings) -> str:
    mib = ceilings.memory_mib
    return f"[limits] memory_mib = {mib} of microservice.toml or MCM.MAX_MEMORY_MIB is too small"
