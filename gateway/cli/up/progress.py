"""Shows the start step by step: a spinner in a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from gateway.cli.up.suggestions import Suggestion


class Step:
    """One step of the start; its result goes behind its name."""

    def __init__(self) -> None:
        self.result = ""


class StartProgress:
    """Shows the progress of the start and of the end."""

    def __init__(self, console: Console, *, lively: bool) -> None:
        self._console, self._lively = console, lively
        self._began = time.monotonic()

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[Step]:
        """Show that a step runs, then its result."""
        step = Step()
        if self._lively:
            with self._console.status(Text.assemble((f"{name:<10}", "bold"), (doing, "dim"))):
                yield step
            line = Text.assemble(("✓ ", "green"), (f"{name:<10}", "bold"), (step.result, "dim"))
        else:
            yield step
            line = Text(f"{name}: {step.result}")
        self._console.print(line, soft_wrap=True)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Show that the end takes a moment."""
        if self._lively:
            self.line("")
            with self._console.status(Text("ending", style="dim")):
                yield
        else:
            yield

    def ready(self, tries: list[Suggestion], kept: str) -> None:
        """Print commands to try, four columns in, unbroken."""
        took_s = time.monotonic() - self._began
        self.line("")
        self.line(f"ready in {took_s:.1f} s", style="bold")
        self.line(kept, style="dim")
        for group in tries:
            self.line("")
            self.line(f"  {group.heading}", style="dim")
            for command in group.commands:
                self.line(f"    {command}")
        self.line("")

    def line(self, text: str, style: str = "") -> None:
        """Print a line as it is, however long."""
        self._console.print(Text(text, style=style), soft_wrap=True)
