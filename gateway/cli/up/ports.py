"""Finds out before the start which ports are taken."""

import errno
import socket
from collections.abc import Iterable

from gateway.cli.errors import CliError
from gateway.cli.up.plan import HOST, PortUse


def check_ports(uses: Iterable[PortUse], host: str = HOST) -> None:
    """Raise CliError with one line for each port that is not free."""
    problems: list[str] = []
    seen: dict[int, PortUse] = {}
    for use in uses:
        if use.port and use.port in seen:
            problem = f"is also that of the {seen[use.port].purpose}; choose another"
        else:
            problem = _problem(host, use.port)
        seen.setdefault(use.port, use)
        if problem:
            problems.append(
                f"port {use.port} ({use.purpose}) {problem} with {use.option} or {use.variable}"
            )
    if problems:
        raise CliError("cannot start: " + "\n              ".join(problems))


def _problem(host: str, port: int) -> str:
    if port == 0:
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        try:
            probe.bind((host, port))
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                return "is in use; stop the other program, or choose another"
            return f"cannot be opened ({exc.strerror}); choose another"
        except OverflowError:
            return "is not a port; choose one"
    return ""
