"""docs/microservices.md: its code runs, and its manifests are accepted."""

import asyncio
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.services.images.manifest import parse_manifest
from tests.programs import ROOT

TEXT = (ROOT / "docs" / "microservices.md").read_text()
SECTIONS = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
SERVICE, TEST = "# service.py\n", "# test_service.py\n"


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def examples() -> Iterator[Any]:
    """Yield each service of the page with the test that follows it."""
    for title, text in SECTIONS:
        code = blocks("python", text)
        for service, test in zip(code[::2], code[1::2], strict=True):
            yield pytest.param(service, test, id=title)


@pytest.mark.parametrize(("service", "test"), list(examples()))
def test_the_code_of_a_section_does_what_its_test_says(service: str, test: str) -> None:
    assert service.startswith(SERVICE)
    assert test.startswith(TEST)
    namespace: dict[str, Any] = {"__name__": "service"}
    exec(compile(service, "service.py", "exec"), namespace)
    exec(compile(test, "test_service.py", "exec"), namespace)
    tests = [each for name, each in namespace.items() if name.startswith("test_")]
    assert tests, "it shows no test"
    for each in tests:
        if inspect.iscoroutinefunction(each):
            asyncio.run(each())
        else:
            each()


@pytest.mark.parametrize("text", blocks("toml", TEXT))
def test_a_manifest_of_the_page_is_accepted(text: str) -> None:
    assert parse_manifest(text).name


def test_every_link_within_the_page_has_its_section() -> None:
    titles = {re.sub(r"[^a-z0-9 -]", "", t.lower()).replace(" ", "-") for t, _ in SECTIONS}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= titles
