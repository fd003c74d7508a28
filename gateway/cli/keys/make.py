"""Writes the files of a small certificate authority, and explains their use."""

import datetime
import ipaddress
import json
import socket
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.addresses import local_address
from gateway.cli.errors import CliError
from gateway.storage.private_file import write_private
from web.errors import CertificateError
from web.tls.authority import (
    CertificateAuthority,
    decode_certificate,
    decode_key,
    encode_certificate,
    encode_key,
    is_good,
    make_authority,
    make_server_certificate,
    new_key,
)

AUTHORITY = "authority"
SERVERS = ("gateway", "cloud", "relay")


@dataclass(frozen=True, slots=True)
class Written:
    """The result for one certificate and its key."""

    name: str
    certificate: Path
    key: Path
    is_key_new: bool
    is_certificate_new: bool

    def line(self) -> str:
        """Return the line that reports it."""
        made = "made" if self.is_key_new else "renewed" if self.is_certificate_new else "kept"
        return f"{made:8} {self.certificate}  {self.key}"


def make_keys(directory: Path, names: list[str], addresses: list[str], *, as_json: bool) -> str:
    """Make the missing files; return the report."""
    directory = directory.expanduser().absolute()
    every = all_names(names, addresses)
    now = datetime.datetime.now(datetime.UTC)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        issuer, authority = _authority(directory, now)
        written = [authority, *(_server(directory, one, issuer, every, now) for one in SERVERS)]
    except OSError as exc:
        raise CliError(f"cannot make keys in {directory}: {exc.strerror or exc}") from exc
    if as_json:
        return _as_json(written, every)
    lines = [one.line() for one in written]
    return "\n".join([*lines, "", f"for {', '.join(every)}", "", _next_steps(directory)])


def all_names(names: list[str], addresses: list[str]) -> list[str]:
    """Return the names and addresses that certificates are for: this machine's and those given."""
    for address in addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError as exc:
            raise CliError(f"cannot make keys: {address!r} is not an address") from exc
    for name in names:
        if not name or len(name) > 253 or any(c.isspace() or c in "/:@" for c in name):
            raise CliError(f"cannot make keys: {name!r} is not a name")
    machine = socket.gethostname().partition(".")[0]
    own = ["localhost", machine, f"{machine}.local", "127.0.0.1", "::1", local_address()]
    return list(dict.fromkeys([*names, *addresses, *own]))


def _authority(directory: Path, now: datetime.datetime) -> tuple[CertificateAuthority, Written]:
    certificate_file, key_file = _files(directory, AUTHORITY)
    key, is_key_new = _key(key_file)
    if is_key_new or not certificate_file.exists():
        certificate = make_authority(f"Hecate authority of {socket.gethostname()}", key, now)
        write_private(certificate_file, encode_certificate(certificate))
        is_new = True
    else:
        certificate, is_new = _read_certificate(certificate_file), False
        if certificate.public_key() != key.public_key():
            raise CliError(f"cannot use {certificate_file}: it is not for the key {key_file}")
    issuer = CertificateAuthority(certificate, key)
    return issuer, Written(AUTHORITY, certificate_file, key_file, is_key_new, is_new)


def _server(
    directory: Path,
    name: str,
    issuer: CertificateAuthority,
    names: list[str],
    now: datetime.datetime,
) -> Written:
    certificate_file, key_file = _files(directory, name)
    key, is_key_new = _key(key_file)
    is_new = not (
        certificate_file.exists()
        and is_good(_read_certificate(certificate_file), issuer, key, names, now)
    )
    if is_new:
        try:
            certificate = make_server_certificate(issuer, key, names, now)
        except CertificateError as exc:
            raise CliError(f"cannot make keys: {exc}") from exc
        write_private(certificate_file, encode_certificate(certificate))
    return Written(name, certificate_file, key_file, is_key_new, is_new)


def _files(directory: Path, name: str) -> tuple[Path, Path]:
    return directory / f"{name}.crt", directory / f"{name}.key"


def _key(file: Path) -> tuple[ec.EllipticCurvePrivateKey, bool]:
    """Return the key in a file, and whether it is new."""
    if not file.exists():
        key = new_key()
        write_private(file, encode_key(key))
        return key, True
    try:
        return decode_key(file.read_bytes()), False
    except CertificateError as exc:
        raise CliError(f"cannot use {file}: {exc}; move it away to get a new one") from exc


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return decode_certificate(file.read_bytes())
    except CertificateError as exc:
        raise CliError(f"cannot use {file}: {exc}; move it away to get a new one") from exc


def _as_json(written: list[Written], names: list[str]) -> str:
    files = {
        one.name: {
            "certificate": str(one.certificate),
            "key": str(one.key),
            "made": one.is_certificate_new,
        }
        for one in written
    }
    return json.dumps({"names": names, "files": files})


def _next_steps(directory: Path) -> str:
    def pair(name: str) -> str:
        certificate, key = _files(directory, name)
        return f'tls_cert = "{certificate}"\n  tls_key = "{key}"'

    authority = directory / f"{AUTHORITY}.crt"
    return f"""\
Next, in cloud.toml:
  [api]
  {pair("cloud")}
  [mqtt]
  {pair("cloud")}
  [relay]
  {pair("relay")}

in gateway.toml:
  [broker]
  {pair("gateway")}
  [sidecar]
  {pair("gateway")}
  [cloud]
  url = "https://NAME:8080"
  ca_file = "{authority}"

Whoever calls gateway, cloud or relay needs {authority}:
  curl --cacert {authority} https://NAME:8080/healthz
  HECATE_CA_FILE={authority} hecate status --url https://NAME:8083
Keep {directory / f"{AUTHORITY}.key"} off machines that only serve: it can vouch for anybody."""
