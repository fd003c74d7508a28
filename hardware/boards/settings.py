"""Checks what a board is told: its name, its gateway, its network. Pure.

A network name is 1 to 32 bytes and need not be text that a shell likes; a password of WPA2 is 8 to
63 printable ASCII characters, or 64 hex digits. Both pass through unchanged: as JSON in UTF-8, for
MicroPython reads an escaped pair of surrogates as two characters that UTF-8 does not have.
"""

import json
import re
from dataclasses import dataclass

from hardware.boards.errors import BoardError
from settings.secret import Secret

SSID_BYTES = range(1, 33)
PASSWORD_CHARACTERS = range(8, 64)
NAME_LIMIT = 64

_KEY = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True, slots=True)
class WifiSettings:
    """A wireless network, open without a password."""

    ssid: str
    password: Secret

    def check(self) -> None:
        """Raise BoardError for what no network can have."""
        try:
            length = len(self.ssid.encode())
        except UnicodeEncodeError as exc:  # bytes of the command line that are no text
            raise BoardError("cannot use this network: its name is not UTF-8") from exc
        if length not in SSID_BYTES:
            raise BoardError("cannot use this network: its name must have 1 to 32 bytes")
        password = self.password.reveal()
        if not password or _KEY.fullmatch(password):
            return
        is_ascii = password.isascii() and password.isprintable()
        if len(password) not in PASSWORD_CHARACTERS or not is_ascii:
            raise BoardError(
                f"cannot use the password of {self.ssid!r}: WPA2 has 8 to 63 printable ASCII "
                "characters, or 64 hex digits"
            )


@dataclass(frozen=True, slots=True)
class BoardSettings:
    """Everything that config.json of a board holds."""

    name: str
    model: str
    host: str
    port: int
    wifi: WifiSettings | None = None
    tls: bool = False
    link: str = ""  # without IP: "serial" or "ble"; host and port then do not count
    line: str = ""  # of a serial link, as serial of the device's settings

    def check(self) -> None:
        """Raise BoardError for what the device package would refuse."""
        host = "none" if self.link else self.host
        for what, value in (("name", self.name), ("host", host)):
            if not 1 <= len(value) <= NAME_LIMIT or not value.isprintable():
                raise BoardError(
                    f"cannot use this {what}: it must have 1 to {NAME_LIMIT} characters"
                )
        if not 1 <= self.port <= 65535:
            raise BoardError(f"cannot use port {self.port}: it must be 1 to 65535")
        if self.wifi is not None:
            self.wifi.check()

    def encode(self) -> bytes:
        """Return config.json."""
        table: dict[str, object] = {"name": self.name, "model": self.model}
        if self.link:
            table["link"] = self.link
        else:
            table |= {"host": self.host, "port": self.port}
        if self.link and self.line:
            table["serial"] = self.line
        if self.wifi is not None:
            table["wifi_ssid"] = self.wifi.ssid
            table["wifi_password"] = self.wifi.password.reveal()
        if self.tls:
            table["tls"] = True
        return json.dumps(table, ensure_ascii=False).encode()
