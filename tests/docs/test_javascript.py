"""docs/javascript.md: its blocks run, and do what the page says."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

from tests.integration.microservice.javascript.runtime import Script, script
from tests.programs import ROOT

TEXT = (ROOT / "docs" / "javascript.md").read_text()
BLOCKS = re.findall(r"^```js\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_page_has_these_blocks() -> None:
    assert len(BLOCKS) == 3


def test_the_first_block_answers(tmp_path: Path) -> None:
    async def main() -> None:
        async with script(tmp_path, BLOCKS[0]) as running:
            assert (await running.get("/x?y")).json() == {"path": "/x?y", "node": "a" * 56}

    asyncio.run(main())


def test_the_second_block_counts(tmp_path: Path) -> None:
    async def main() -> None:
        async with script(tmp_path, BLOCKS[1]) as running:
            assert [(await running.get()).text for _ in range(2)] == ["visit 1", "visit 2"]

    asyncio.run(main())


def test_the_third_block_handles_messages(tmp_path: Path) -> None:
    async def main() -> None:
        async with script(tmp_path, BLOCKS[2], {"MCM.MQTT_TRIGGERS": "in/+"}) as running:
            await running.message("in/1", b'{"value": 10}')
            ((topic, payload, *_),) = running.broker.messages
            assert topic == "out/fahrenheit"
            assert json.loads(payload) == {"topic": "in/1", "value": 50}
            await stays(running)

    asyncio.run(main())


def test_the_test_on_the_page_passes(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "test_index.py").write_text(text)
    (tmp_path / "index.js").write_text(BLOCKS[2])
    rights = '[mqtt]\nsubscribe = ["in/+"]\npublish = ["out/+"]\n'
    (tmp_path / "microservice.toml").write_text(f'name = "t"\n{rights}')
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


async def stays(running: Script) -> None:
    assert (await running.get("/other")).status == 404


def test_every_name_on_the_page_is_in_the_runtime(tmp_path: Path) -> None:
    names = {
        "request": re.findall(r"`(\w+)[`(]", row("`request`")),
        "response": re.findall(r"`(\w+)[`(]", row("`response`")),
        "context.storage": re.findall(r"`(\w+)`", row("`context.storage`")),
        "context.edge": re.findall(r"`(\w+)`", row("`context.edge`")),
    }
    checks = [f"'{name}' in {where}" for where, found in names.items() for name in found]
    checks += [
        f"typeof {name} !== 'undefined'" for name in re.findall(r"`([\w.]+)`", row("globals"))
    ]
    values = ",".join(checks)
    code = f"mimikModule.exports = (context, request, response) => response.end([{values}]);"
    assert len(checks) > 40

    async def main() -> None:
        async with script(tmp_path, code) as running:
            found = (await running.post("/", {}, authorization="x")).json()
            assert [
                check for check, is_there in zip(checks, found, strict=True) if not is_there
            ] == []

    asyncio.run(main())


def row(first: str) -> str:
    """Return the second cell of the row with a first cell."""
    (line,) = [one for one in TEXT.splitlines() if one.startswith(f"| {first} |")]
    return line.split("|")[2]
