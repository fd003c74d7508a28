"""`hecate broker --config` in a folder of its own."""

import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.access.passwords.hashes import ScryptCost, hash_password
from tests.paho_client import V5, Paho
from tests.programs import HECATE, Program

CHEAP = ScryptCost(4, 8, 1)


class Alone:
    """A running broker and its files."""

    def __init__(self, folder: Path, config: str, name: str = "broker.toml") -> None:
        self.folder = folder
        (folder / name).write_text(config)
        self.program = Program((*HECATE, "broker", "--config", str(folder / name)))
        try:
            line = self.program.wait_for(r"broker ready: MQTT (.*); (.*) may connect")
        except BaseException:
            self.program.stop()
            raise
        self.addresses = line[1].split(", ")
        self.who = line[2]

    @property
    def port(self) -> int:
        return self.port_of(0)

    def port_of(self, number: int) -> int:
        return int(self.addresses[number].split(" ")[0].rpartition(":")[2])

    def reload(self, expected: str = "read users, rights and certificates again") -> None:
        self.program.process.send_signal(signal.SIGHUP)
        self.program.wait_for(expected)

    def client(
        self, name: str | None, password: str | None = None, client_id: str = "", **options: object
    ) -> Paho:
        found = Paho(client_id or f"c-{secrets.token_hex(4)}", V5, **options)  # type: ignore[arg-type]  # passed on
        if name is not None:
            found.client.username_pw_set(name, password)
        return found


def users(folder: Path, **passwords: str) -> None:
    lines = [
        f"{name}:{hash_password(password.encode(), secrets.token_bytes(16), CHEAP)}\n"
        for name, password in passwords.items()
    ]
    (folder / "passwords").write_text("".join(lines))
    (folder / "passwords").chmod(0o600)


def rights(folder: Path, text: str) -> None:
    (folder / "acl").write_text(text)


ALONE = """
[[listener]]
address = "127.0.0.1:0"
[access]
password_file = "passwords"
acl_file = "acl"
"""


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Callable[..., Alone]]:
    started: list[Alone] = []

    def start(config: str = ALONE, name: str = "broker.toml") -> Alone:
        started.append(Alone(tmp_path, config, name))
        return started[-1]

    yield start
    for each in started:
        assert each.program.stop() == 0
