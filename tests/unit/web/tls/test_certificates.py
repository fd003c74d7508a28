import logging
import ssl
from pathlib import Path

import pytest

from tests.certificates import NAMES, make_authority
from web import CertificateError, ServerCertificate


def serial(context: ssl.SSLContext, trust: ssl.SSLContext) -> str:
    """Return the serial number that a server with the context shows."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trust.wrap_bio(to_client, to_server, server_hostname="localhost")
    done = False
    while not done:
        done = True
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                done = False
    shown = client.getpeercert()
    assert shown
    return str(shown["serialNumber"])


# case CL8
def test_renewed_files_are_taken_up(tmp_path: Path) -> None:
    files = make_authority(tmp_path)
    certificate = ServerCertificate(files.cert, files.key, "[api]")
    trust = files.client_context()
    assert certificate.names == frozenset(NAMES)
    before = serial(certificate.context, trust)
    assert not certificate.renew()
    renewed = files.renew()
    assert certificate.renew()
    assert not certificate.renew()
    assert int(serial(certificate.context, trust), 16) == renewed != int(before, 16)


# case CL8
def test_half_a_renewal_leaves_the_old_one_in_use_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = make_authority(tmp_path)
    certificate = ServerCertificate(files.cert, files.key, "[api]")
    trust = files.client_context()
    before = serial(certificate.context, trust)
    whole = files.key.read_bytes()
    renewed = files.renew()
    key = files.key.read_bytes()
    files.key.write_bytes(whole)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert not certificate.renew()
    assert serial(certificate.context, trust) == before
    (told,) = caplog.records
    assert "[api]" in told.getMessage()
    files.key.unlink()
    assert not certificate.renew()
    files.key.write_bytes(key)
    assert certificate.renew()
    assert int(serial(certificate.context, trust), 16) == renewed


def test_what_does_not_serve_is_refused_with_the_setting(tmp_path: Path) -> None:
    files = make_authority(tmp_path)
    other = make_authority(tmp_path / "other")
    missing = tmp_path / "missing"
    for certificate, key in ((files.cert, other.key), (files.key, files.key), (files.cert, missing),
                             (missing, files.key)):  # fmt: skip
        with pytest.raises(CertificateError, match=r"cannot use \[relay\] tls_cert = "):
            ServerCertificate(certificate, key, "[relay]")


def test_old_versions_of_tls_are_not_spoken(tmp_path: Path) -> None:
    files = make_authority(tmp_path)
    context = ServerCertificate(files.cert, files.key, "[api]").context
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
