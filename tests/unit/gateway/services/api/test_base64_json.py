"""The scanner of base64 in JSON agrees with the JSON parser, whatever the pieces are."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.api.base64_json import MEMBER, Base64Field
from web import JsonError


def scan(text: bytes, size: int) -> tuple[bytes, dict[str, Any], bool]:
    field = Base64Field()
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    image = b"".join(field.feed(piece) for piece in pieces)
    return image, field.finish(), field.has_image


OTHERS = st.dictionaries(
    st.text(max_size=8) | st.just("x"),
    st.recursive(
        st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=12) | st.just(MEMBER),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just(MEMBER), inner),
        max_leaves=6,
    ),
    max_size=4,
)


@given(st.binary(max_size=200), OTHERS, OTHERS, st.integers(1, 40), st.booleans())
def test_it_finds_what_the_parser_finds(
    content: bytes, before: dict[str, Any], after: dict[str, Any], size: int, indented: bool
) -> None:
    text = base64.b64encode(content).decode()
    value = before | {MEMBER: text} | after
    packed = json.dumps(value, indent=2 if indented else None, ensure_ascii=indented).encode()
    image, fields, has_image = scan(packed, size)
    assert (image, has_image) == (content, True)
    assert fields == value | {MEMBER: ""}


@given(OTHERS, st.integers(1, 40))
def test_without_the_member_it_changes_nothing(value: dict[str, Any], size: int) -> None:
    image, fields, has_image = scan(json.dumps(value).encode(), size)
    assert (image, fields, has_image) == (b"", value, MEMBER in value)


@given(st.binary(max_size=60), st.integers(1, 20))
def test_any_bytes_give_an_object_or_an_error(text: bytes, size: int) -> None:
    try:
        _, fields, _ = scan(b'{"base64Image":' + text, size)
    except JsonError:
        return
    assert isinstance(fields, dict)


@pytest.mark.parametrize(
    ("text", "image"),
    [
        (b'{"base64Image": ""}', b""),
        (b'{"base64Image": "YQ=="}', b"a"),
        (b'{"base64Image": "YQ"}', b"a"),
        (b'{"base64Image": "Y\\nQ=\\r\\n="}', b"a"),
        (b'{"base64Image": "data:application/x-tar;base64,YQ=="}', b"a"),
        (b'{"base64Image": "dat5"}', base64.b64decode("dat5")),
        (b'{"base64Image": "\\/\\/\\/\\/"}', b"\xff\xff\xff"),
        (b'{"base64Image": "____"}', b"\xff\xff\xff"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_forms_of_base64(text: bytes, image: bytes, size: int) -> None:
    assert scan(text, size)[0] == image


@pytest.mark.parametrize(
    "text",
    [
        b'{"base64Image": "YQ==YQ=="}',
        b'{"base64Image": "Y"}',
        b'{"base64Image": "Y!=="}',
        b'{"base64Image": "\\u0041AAA"}',
        b'{"base64Image": "AAAA',
        b'{"base64Image": "AAAA"]',
        b'{"base64Image": "data:"}',
        b'{"base64Image": "data:' + b"x" * 300 + b'"}',
        b'["base64Image", "AAAA"]',
        b'{"base64Image": "", "base64Image": "AAAA"}',
        b'{"x": "' + b"y" * 70_000 + b'"}',
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_no_base64_or_no_json_is_refused(text: bytes, size: int) -> None:
    with pytest.raises(JsonError):
        scan(text, size)


def test_a_member_below_the_top_is_no_image() -> None:
    image, fields, has_image = scan(b'{"a": {"base64Image": "YQ=="}, "b": ["base64Image"]}', 5)
    assert (image, has_image) == (b"", False)
    assert fields["a"] == {MEMBER: "YQ=="}
