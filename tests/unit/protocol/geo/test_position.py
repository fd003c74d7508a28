import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.geo.position import (
    FARTHEST_M,
    Position,
    parse_position,
    position_fields,
    position_from,
    read_position,
)
from protocol.records import NodeRecord, from_fields, to_fields

DELFT, AMSTERDAM = Position(52.0116, 4.3571), Position(52.3731, 4.8926)
positions = st.builds(
    Position,
    st.floats(-90, 90).map(lambda value: round(value, 7)),
    st.floats(-180, 180).map(lambda value: round(value, 7)),
)


def test_distances_are_those_of_the_globe() -> None:
    assert DELFT.distance_m(AMSTERDAM) == pytest.approx(54_300, rel=0.01)
    assert Position(0, 0).distance_m(Position(0, 180)) == pytest.approx(FARTHEST_M, rel=0.002)
    assert Position(0, 179.9).distance_m(Position(0, -179.9)) == pytest.approx(22_239, rel=0.001)
    assert DELFT.distance_m(DELFT) == 0.0


@given(positions, positions)
def test_a_distance_is_the_same_both_ways_and_bounded(one: Position, other: Position) -> None:
    assert one.distance_m(other) == pytest.approx(other.distance_m(one), abs=0.01)
    assert 0 <= one.distance_m(other) <= FARTHEST_M


@given(positions)
def test_a_position_survives_a_record(position: Position) -> None:
    assert position_from(json.loads(json.dumps(position_fields(position)))) == position


def test_both_orders_of_callers_are_taken() -> None:
    vancouver = read_position("49.283820", "-123.111591", "gps")
    assert (vancouver.latitude, vancouver.longitude) == (49.28382, -123.111591)
    assert read_position("-123.111591", "49.283820", "gps") == vancouver
    assert read_position(4, 52, "gps").latitude == 4  # both fit: latitude first


BAD: list[tuple[Any, Any]] = [
    (91, 181), (91, 91), ("", ""), ("x", "1"), ("nan", "1"), ("1", "inf"), (None, 1), (True, 1),
    ([1], 2), ("1" * 40, 1), ("\u0661", "1"), (10**400, 1), ({}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), BAD)
def test_what_is_no_position_is_refused(first: Any, second: Any) -> None:
    with pytest.raises(WireError):
        read_position(first, second, "gps")


@pytest.mark.parametrize("text", ["52", "x,4", "4.3571, 182", "120, 4", "52,4,1"])
def test_a_setting_that_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        parse_position(text)


@pytest.mark.parametrize(
    "location",
    [
        1,
        {"type": "Polygon", "coordinates": [4, 52], "origin": "gps"},
        {"type": "Point", "coordinates": [4, 52], "origin": "gps", "at": 10**400},
        {"type": "Point", "coordinates": [4], "origin": "gps"},
        {"type": "Point", "coordinates": [4, 120], "origin": "gps"},
        {"type": "Point", "coordinates": [4, 52], "origin": "guess"},
        {"type": "Point", "coordinates": ["x", 52], "origin": "gps"},
    ],
)
def test_a_record_with_a_bad_location_is_refused(location: object) -> None:
    record = NodeRecord("ab" * 28, "barn", "1", "ab" * 28, b"key")
    fields = to_fields(record)
    assert from_fields(fields) == record
    with pytest.raises(WireError):
        from_fields({**fields, "location": location})
    assert from_fields(to_fields(replace(record, position=DELFT))).position == DELFT
