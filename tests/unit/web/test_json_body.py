import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile_json import NASTY
from web import JsonError, SafeJsonResponse, parse_json


# case G16
@pytest.mark.parametrize("body", NASTY.values(), ids=NASTY)
def test_what_cannot_be_carried_on_is_refused(body: bytes) -> None:
    with pytest.raises(JsonError):
        parse_json(body)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63) + 1, 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_what_is_read_can_be_written(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value


# case G16
def test_answers_cannot_fail_on_their_values() -> None:
    value = {"name": "a\ud800", "t": [float("nan"), float("inf"), 1.5], "deep": {"n": None}}
    body = SafeJsonResponse(value).body
    assert json.loads(bytes(body)) == {
        "name": "a\ud800", "t": [None, None, 1.5], "deep": {"n": None},
    }  # fmt: skip
    assert SafeJsonResponse({"name": "ü"}).body == '{"name":"ü"}'.encode()
