"""Starts the command line: `hecate`, or `python -m gateway`."""

import io
import json
import sys

from gateway.cli.app import app
from gateway.cli.errors import CliError
from gateway.cli.view.words import printable


def main() -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong options."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may have no UTF-8
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="hecate")
    except CliError as exc:
        if "--json" in sys.argv[1:]:  # one line: the output before it may be lines of JSON
            sys.stdout.write(json.dumps({"error": str(exc)}) + "\n")
        sys.stdout.flush()
        sys.stderr.write("".join(f"{printable(line)}\n" for line in str(exc).split("\n")))
        return exc.exit_code
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
