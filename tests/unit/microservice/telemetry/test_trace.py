"""Contexts of traces, as W3C Trace Context writes them."""

import pytest

from microservice.telemetry.trace import continue_trace, current_trace, make_span

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_handler_is_a_span_of_the_trace_that_its_trigger_brought() -> None:
    assert current_trace() is None
    with continue_trace(f"00-{TRACE}-{SPAN}-01", "vendor=1"):
        span = current_trace()
        assert span is not None
        assert (span.trace_id, span.flags, span.state) == (TRACE, "01", "vendor=1")
        assert span.span_id != SPAN
        assert span.headers == (
            ("traceparent", f"00-{TRACE}-{span.span_id}-01"),
            ("tracestate", "vendor=1"),
        )
        with continue_trace(None, None):
            assert current_trace() is None
    assert current_trace() is None


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
    ],
)
def test_what_is_not_valid_begins_no_trace(parent: str) -> None:
    assert make_span(parent, "") is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    span = make_span(f"01-{TRACE}-{SPAN}-01-more", "x" * 600)
    assert span is not None
    assert span.headers == (("traceparent", f"00-{TRACE}-{span.span_id}-01"),)
