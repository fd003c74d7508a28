"""Values that scripts store, log and answer: cut characters, base64 without padding, secrets."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.microservice.javascript.runtime import handler, script


def answer_of(directory: Path, body: str) -> Any:
    async def main() -> Any:
        async with script(directory, handler(body)) as running:
            answer = await running.get()
            assert answer.status == 200, answer.text
            return json.loads(answer.text)

    return asyncio.run(main())


def test_a_text_that_is_cut_inside_a_character_is_stored(tmp_path: Path) -> None:
    found = answer_of(
        tmp_path,
        r"""
        const s = context.storage, cut = 'caf\u00e9 \ud83d\ude00'.slice(0, 6), found = [];
        s.setItem('last', cut);
        s.setItemWithTag(cut, 'x', cut);
        s.eachItemByTag(cut, (key, value) => found.push(key, value));
        found.push(s.getItem('last'), s.getItem(cut));
        s.removeItem(cut);
        found.push(s.getItem(cut));
        response.end(JSON.stringify(found));
        """,
    )
    text = "café \ufffd"
    assert found == [text, "x", text, "x", None]


def test_a_file_in_base64_needs_no_padding(tmp_path: Path) -> None:
    answer_of(
        tmp_path,
        """
        for (const text of ['', 'aGk', 'aGk=', 'aGlq', 'aA', ' a A\\n= ='])
          context.storage.saveFile(`f${text.length}`, text);
        response.end('1');
        """,
    )
    files = {path.name: path.read_bytes() for path in (tmp_path / "data/files").iterdir()}
    assert files == {"f0": b"", "f3": b"hi", "f4": b"hij", "f2": b"h", "f8": b"h"}


def test_the_console_has_what_libraries_call(tmp_path: Path) -> None:
    assert not answer_of(
        tmp_path,
        """
        const names = ['assert', 'clear', 'count', 'countReset', 'debug', 'dir', 'dirxml', 'error',
          'exception', 'group', 'groupCollapsed', 'groupEnd', 'info', 'log', 'profile',
          'profileEnd', 'table', 'time', 'timeEnd', 'timeLog', 'timeStamp', 'trace', 'warn'];
        response.end(JSON.stringify(names.filter((name) => typeof console[name] !== 'function')));
        """,
    )


def test_a_context_that_is_shown_has_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = """
    console.log(context, context.secrets);
    try { context.secrets.password = 'other'; } catch (error) { console.error(error); }
    const known = context.secrets.password === 'hunter2';
    response.end(JSON.stringify([known, context, Object.entries(context.secrets)]));
    """

    async def main() -> None:
        async with script(tmp_path, handler(code), secrets={"password": "hunter2"}) as running:
            answer = await running.get()
            assert answer.json()[0] is True
            assert "hunter2" not in answer.text

    with caplog.at_level("INFO"):
        asyncio.run(main())
    assert "settings: {}" in caplog.text
    assert "hunter2" not in caplog.text
