from enum import StrEnum
from typing import Any

import pytest
from starlette.requests import Request

from gateway.http.parameters import (
    InvalidValueError,
    PathText,
    QueryChoice,
    QueryFlag,
    QueryInteger,
    check_range,
    read_integer,
    read_number,
)
from gateway.http.problems import Problem


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def query(text: str) -> Request:
    return Request({"type": "http", "query_string": text.encode(), "headers": []})


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5), (True, 1), (5.0, 5), ("5", 5), (" 7\n", 7), ("-0", 0), ("+1", 1), ("007", 7),
        ("1_0", 10), ("1.00", 1), ("0.0", 0), (1e15, 10**15), ("9" * 30, int("9" * 30)),
    ],
)  # fmt: skip
def test_whole_numbers_are_read_as_clients_write_them(value: Any, number: int) -> None:
    assert read_integer(value) == number


@pytest.mark.parametrize(
    ("value", "why"),
    [
        *[
            (text, "unable to parse string as an integer")
            for text in (
                "",
                "x",
                "1.",
                ".0",
                "1.5",
                "1e1",
                "1__0",
                "_1",
                "--1",
                "- 5",
                "0x1",
                "\uff11",
            )
        ],
        (1.5, "got a number with a fractional part"),
        (float("inf"), "got a number with a fractional part"),
        (None, "should be a valid integer"),
        ([], "should be a valid integer"),
        ("1" * 5000, "exceeded maximum size"),
    ],
)
def test_other_values_are_no_whole_numbers(value: Any, why: str) -> None:
    with pytest.raises(InvalidValueError, match=why):
        read_integer(value)


@pytest.mark.parametrize(
    ("value", "number"), [(1, 1.0), (0.5, 0.5), (True, 1.0), ("1e3", 1000.0), (" 5 ", 5.0)]
)
def test_numbers_are_read_as_clients_write_them(value: Any, number: float) -> None:
    assert read_number(value) == number


@pytest.mark.parametrize("value", ["", "x", "\uff11", None, [], {}])
def test_other_values_are_no_numbers(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="should be a valid number"):
        read_number(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 11])
def test_a_number_beyond_the_maximum_is_refused_and_so_is_none_at_all(value: float) -> None:
    with pytest.raises(InvalidValueError, match="less than or equal to 10"):
        check_range(value, 10, above=0)


def test_bounds_hold_or_are_excluded() -> None:
    check_range(0, 10, minimum=0)
    with pytest.raises(InvalidValueError, match="greater than 0"):
        check_range(0, 10, above=0)
    with pytest.raises(InvalidValueError, match="greater than or equal to 1"):
        check_range(0, 10, minimum=1)


def test_the_last_of_several_values_in_a_query_counts() -> None:
    tail = QueryInteger("tail", 200, 0, 10)
    assert tail.read(query("")) == 200
    assert tail.read(query("tail=-1&tail=5")) == 5
    with pytest.raises(Problem, match=r"query\.tail: Input should be greater than or equal to 0"):
        tail.read(query("tail=5&tail=-1"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("", False), ("a=1", True), ("a=tRuE", True), ("a=yes", True), ("a=off", False)],
)
def test_flags_have_many_words(text: str, value: bool) -> None:
    assert QueryFlag("a").read(query(text)) is value


@pytest.mark.parametrize("text", ["a=", "a=2", "a=maybe", "a=%20true"])
def test_other_words_are_no_flags(text: str) -> None:
    with pytest.raises(Problem, match="unable to interpret input") as raised:
        QueryFlag("a").read(query(text))
    assert raised.value.status == 422


def test_a_choice_is_one_of_its_words() -> None:
    choice = QueryChoice("colour", Colour.RED)
    assert choice.read(query("")) is Colour.RED
    assert choice.read(query("colour=blue")) is Colour.BLUE
    with pytest.raises(Problem, match="Input should be 'red' or 'blue'"):
        choice.read(query("colour=Blue"))


@pytest.mark.parametrize(("value", "is_good"), [("ab", True), ("ab\n", False), ("xab", False)])
def test_a_path_matches_its_pattern_as_a_whole(value: str, is_good: bool) -> None:
    request = Request({"type": "http", "path_params": {"id": value}, "headers": []})
    if is_good:
        assert PathText("id", "[ab]+").read(request) == value
    else:
        with pytest.raises(Problem, match=r"path\.id: String should match pattern"):
            PathText("id", "[ab]+").read(request)
