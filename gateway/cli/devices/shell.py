"""Opens the REPL of a board."""

import os

from gateway.cli.errors import CliError
from hardware.boards.errors import BoardError
from hardware.boards.ports import choose_port, open_port
from hardware.boards.programs import find_program


def open_shell(given_port: str) -> None:
    """Become mpremote at the REPL of a board; CliError when that is not possible."""
    try:
        port = open_port(choose_port(given_port))
        program = find_program("mpremote")
    except BoardError as exc:
        raise CliError(str(exc)) from exc
    command = [str(program), "connect", str(port.device), "repl"]
    os.execv(command[0], command)  # noqa: S606  # it needs this terminal, and nothing of ours
