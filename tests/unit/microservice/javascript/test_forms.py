"""File names of parts that are not ASCII."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from microservice.javascript.forms import FormReader

TYPE = "multipart/form-data; boundary=x"


def names(disposition: str) -> tuple[str, str | None] | None:
    body = f"--x\r\nContent-Disposition: {disposition}\r\n\r\n1\r\n--x--\r\n".encode()

    async def source() -> AsyncIterator[bytes]:
        yield body

    return asyncio.run(FormReader(TYPE, source()).next_part())


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("filename*=UTF-8''na%C3%AFve%20%E2%82%AC.txt", "naïve €.txt"),
        ("filename*=iso-8859-1'en'%A3.txt", "£.txt"),
        ("FILENAME*=utf-8''a.txt", "a.txt"),
        ("filename=plain.txt; filename*=UTF-8''other.txt", "plain.txt"),  # RFC 7578, 4.2
        ("filename*=plain", "plain"),
        ("filename*=no-such-set''%FF", "ÿ"),
        ("filename*=utf-8''%FF", "\ufffd"),
        ("other=\"; filename*=UTF-8''a\"", None),
        ("size*=3", None),
    ],
)
def test_a_name_in_extended_form(written: str, name: str | None) -> None:
    assert names(f'form-data; name="f"; {written}') == ("f", name)
