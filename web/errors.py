"""Defines the errors of the HTTP server; messages read "cannot X: why"."""


class ListenError(OSError):
    """An address cannot be listened on; is_setting_wrong when another port would do."""

    def __init__(self, where: str, why: str, *, is_setting_wrong: bool = False) -> None:
        super().__init__(f"cannot listen on {where}: {why}")
        self.why, self.is_setting_wrong = why, is_setting_wrong


class CertificateError(Exception):
    """A certificate and its key cannot be used."""


class JsonError(ValueError):
    """A body is not JSON that every part of the program can process."""
