"""Keeps a server's TLS context current: reads its certificate again when the files change."""

import asyncio
import logging
import ssl
from pathlib import Path

from web.errors import CertificateError
from web.tls.authority import decode_certificate, names_of

POLL_S = 2.0  # two calls of stat

logger = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


class ServerCertificate:
    """The TLS context of a server; new connections use the renewed files.

    Open connections keep the certificate with which they were opened.
    """

    def __init__(self, certificate: Path, key: Path, section: str) -> None:
        """Read both files; the section, like "[api]", is for messages."""
        self._certificate, self._key, self.section = certificate, key, section
        self._stamp = self._read_stamp()
        self.context, self.names = self._read()
        self._last_warning = ""

    def renew(self) -> bool:
        """Read the files again if they have changed; return whether they are in use now."""
        try:
            stamp = self._read_stamp()
            if stamp == self._stamp:
                return False
            # in a context of its own: half of a renewal must not harm the one in use
            _, names = self._read()
            self.context.load_cert_chain(self._certificate, self._key)
        except (CertificateError, OSError) as exc:
            if str(exc) != self._last_warning:
                self._last_warning = str(exc)
                logger.warning("the old certificate stays in use: %s", exc)
            return False
        self._stamp, self.names, self._last_warning = stamp, names, ""
        logger.info("%s has a renewed certificate", self.section)
        return True

    async def follow(self, poll_s: float = POLL_S) -> None:
        """Renew whenever the files change, until cancelled."""
        while True:
            await asyncio.sleep(poll_s)
            self.renew()

    def _read(self) -> tuple[ssl.SSLContext, frozenset[str]]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._certificate, self._key, self._refuse_to_ask)
            leaf = decode_certificate(self._certificate.read_bytes())
        except (OSError, CertificateError) as exc:  # ssl.SSLError is an OSError
            raise self._error(exc) from exc
        return context, names_of(leaf)

    def _refuse_to_ask(self) -> str:
        raise CertificateError("the key has a password; a server starts without a person")

    def _read_stamp(self) -> Stamp:
        try:
            stats = [path.stat() for path in (self._certificate, self._key)]
        except OSError as exc:
            raise self._error(exc) from exc
        return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats)

    def _error(self, exc: Exception) -> CertificateError:
        why = getattr(exc, "strerror", None) or str(exc)
        return CertificateError(
            f"cannot use {self.section} tls_cert = {self._certificate}, "
            f"tls_key = {self._key}: {why}"
        )
