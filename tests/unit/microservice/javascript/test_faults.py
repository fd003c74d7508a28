"""The reasons for an answer that did not come."""

import signal

import pytest

from microservice.javascript.faults import Ceilings, Fault, explain_loading, fault_of_end

CEILINGS = Ceilings(2.0, 16)
STACK = """Error: x
    at f (index.js:3:5)
    at apply (native)
    at <anonymous> (hecate:core.js:1:1)
"""


def test_the_log_tells_reason_and_line_and_the_caller_gets_no_text_of_the_script() -> None:
    fault = Fault("error", STACK)
    assert fault.reason(CEILINGS) == "Error: x (index.js:3)"
    assert "x" not in fault.answer(CEILINGS).replace("see the container's log", "")
    assert fault.stack() == "    at f (index.js:3:5)\n    at apply (native)"


def test_limits_are_named() -> None:
    time = Fault("time", "    at f (index.js:3:5)\n")
    assert time.reason(CEILINGS) == "time limit of 2 s at index.js:3"
    waits = Fault("time", "waits for a timer at f (index.js:9:1)")
    assert "index.js:9 (waits for a timer" in waits.reason(CEILINGS)
    assert Fault("time").reason(CEILINGS) == "time limit of 2 s in native code"
    assert "memory_mib = 16" in Fault("memory").answer(CEILINGS)


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (signal.SIGALRM, "time", ""),
        (signal.SIGKILL, "memory", ""),
        (signal.SIGSEGV, "error", "SIGSEGV"),
        (255 << 8, "error", "could not be started"),
        (0, "error", "its process ended"),
    ],
)
def test_the_end_of_a_child(status: int, kind: str, text: str) -> None:
    fault = fault_of_end(status)
    assert fault.kind == kind
    assert text in fault.text


def test_loading() -> None:
    text = "SyntaxError: unexpected\n    at index.js:3:9\n"
    assert (
        explain_loading(text) == "cannot load index.js: SyntaxError: unexpected (index.js, line 3)"
    )
    assert explain_loading("") == "cannot load index.js: its process ended"
