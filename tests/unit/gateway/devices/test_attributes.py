import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.attributes import COUNT_LIMIT, merge_attributes, parse_attributes


def test_attributes_of_a_device() -> None:
    payload = {"battery": 81.5, "rssi": -67, "firmware": "1.27.0", "door": True}
    assert parse_attributes(json.dumps(payload).encode()) == payload


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 500, "not"),
        (b'{"battery": 101}', "battery is not a number from 0 to 100"),
        (b'{"battery": true}', "battery is not a number"),
        (b'{"battery": "80"}', "battery is not a number"),
        (b'{"rssi": NaN}', "rssi is not a finite number"),
        (b'{"a": 1' + b"0" * 400 + b"}", "a is too large"),  # no float holds it
        (b'{"firmware": 1}', "firmware is not a text"),
        (b'{"a": {}}', "a is neither"),
        (b'{"a": null}', "a is neither"),
        (b'{"A b": 1}', "name 'A b' is not"),
        (b'{"a": "x\\ny"}', "a is not a text of at most"),
        (b'{"a": 1e999}', "a is not a finite"),
        (json.dumps({"a": "x" * 65}).encode(), "a is not a text of at most"),
        (json.dumps({"a": 2**60}).encode(), "a is too large"),
        (b'{"a": 1}' + b" " * 1024, "1032 bytes"),
    ],
)
def test_what_is_no_attribute(payload: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_attributes(payload)


@given(st.binary(max_size=300))
def test_any_bytes_are_attributes_or_a_value_error(payload: bytes) -> None:
    try:
        parse_attributes(payload)
    except ValueError:
        return


def test_reports_are_merged_within_a_bound() -> None:
    known: dict[str, str | int | float | bool] = {}
    for number in range(50):  # in one burst, each with another name
        known = merge_attributes(known, {f"a{number}": number})
    assert len(known) == COUNT_LIMIT
    assert list(known)[-1] == "a49"
    assert merge_attributes({"a": 1, "b": 2}, {"a": 3}) == {"b": 2, "a": 3}
