"""A developer who deploys the examples as their pages say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.commands import Person
from tests.programs import ROOT
from tests.system import Gateway

EXAMPLES = ROOT / "examples"


@dataclass(frozen=True, slots=True)
class Developer:
    """Types commands for one gateway."""

    person: Person
    gateway: Gateway

    def hecate(self, *words: str, **environ: str) -> str:
        """Return what a command prints that must succeed."""
        at = {"HECATE_URL": self.gateway.url, "HECATE_API_KEY": self.gateway.key}
        return self.person.done(*words, **at, **environ)

    def deploy(self, folder: str | Path, *options: str, **environ: str) -> str:
        """Deploy an example by its name, or a changed copy by its folder."""
        return self.hecate("deploy", str(EXAMPLES / folder), *options, **environ)

    def get(self, path: str, **more: Any) -> Any:
        """Return the JSON at a path below /api."""
        answer = self.gateway.ask("GET", f"/api{path}", "", **more)
        assert answer.status_code == 200, answer.text
        return answer.json()
