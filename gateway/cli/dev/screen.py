"""Prints the events of `hecate dev`: lines for people, objects for programs."""

import json
import sys
from datetime import datetime

from rich.text import Text

from gateway.cli.output import console
from gateway.cli.services.log_lines import LogLine, render


class DevScreen:
    """The output of one session."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._out = console()

    def event(self, kind: str, text: str, style: str = "", **fields: object) -> None:
        """Print something that the session has done or found."""
        if self._as_json:
            self._write({"event": kind, "text": text, **fields})
            return
        first, *others = text.splitlines() or [""]
        stamp = datetime.now().astimezone().strftime("%H:%M:%S")
        self._out.print(Text.assemble((f"{stamp} ", "dim"), (first, style)), soft_wrap=True)
        for line in others:
            self._out.print(Text(f"         {line}"), soft_wrap=True)
        sys.stdout.flush()

    def log(self, line: LogLine, *, is_own: bool) -> None:
        """Print a line of the container's log; one that names the developer's file stands out."""
        if self._as_json:
            self._write({"event": "log", **line.as_object()})
        else:
            shown = Text("         ").append(render(line, ""))
            self._out.print(shown, style="bold" if is_own else "", soft_wrap=True)
            sys.stdout.flush()

    def _write(self, value: dict[str, object]) -> None:
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()
