import datetime
import json
import ssl
import stat
from pathlib import Path

import pytest

from gateway.cli.errors import CliError
from gateway.cli.keys.make import make_keys
from web.tls.authority import (
    CertificateAuthority,
    decode_certificate,
    decode_key,
    encode_certificate,
    make_server_certificate,
    names_of,
)


def make(folder: Path, *names: str) -> str:
    return make_keys(folder, list(names), [], as_json=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# case CL8
def test_an_authority_and_three_servers_are_made_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "tls"
    told = make_keys(folder, ["hub.example.com"], ["192.0.2.7"], as_json=False)
    names = {f"{n}.{end}" for n in ("authority", "gateway", "cloud", "relay")
             for end in ("crt", "key")}  # fmt: skip
    assert contents(folder).keys() == names
    assert {stat.S_IMODE(f.stat().st_mode) for f in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("gateway", "cloud", "relay"):
        certificate = decode_certificate((folder / f"{name}.crt").read_bytes())
        assert names_of(certificate) >= {"hub.example.com", "192.0.2.7", "localhost", "127.0.0.1"}
        ssl.create_default_context().load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    assert "[cloud]" in told
    assert f'ca_file = "{folder}/authority.crt"' in told
    assert "PRIVATE KEY" not in told


# case CL8
def test_what_is_there_is_kept(tmp_path: Path) -> None:
    make(tmp_path, "a.example")
    before = contents(tmp_path)
    told = make(tmp_path)
    assert contents(tmp_path) == before
    assert told.count("kept ") == 4


def test_a_certificate_that_lacks_a_name_or_ends_soon_is_made_again_for_its_key(
    tmp_path: Path,
) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    make(tmp_path, "b.example")
    after = contents(tmp_path)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"gateway.crt", "cloud.crt", "relay.crt"}

    issuer = CertificateAuthority(
        decode_certificate(after["authority.crt"]), decode_key(after["authority.key"])
    )
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=800)
    names = sorted(names_of(decode_certificate(after["relay.crt"])))
    old = make_server_certificate(issuer, decode_key(after["relay.key"]), names, long_ago)
    (tmp_path / "relay.crt").write_bytes(encode_certificate(old))
    told = make(tmp_path, "b.example")
    assert told.count("renewed ") == 1
    assert contents(tmp_path)["relay.key"] == before["relay.key"]


def test_for_programs(tmp_path: Path) -> None:
    answer = json.loads(make_keys(tmp_path, ["c.example"], [], as_json=True))
    assert answer["names"][0] == "c.example"
    assert answer["files"]["relay"] == {
        "certificate": str(tmp_path / "relay.crt"), "key": str(tmp_path / "relay.key"),
        "made": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "addresses", "why"),
    [
        (["https://a.example"], [], "is not a name"),
        ([""], [], "is not a name"),
        (["x" * 300], [], "is not a name"),
        ([], ["a.example"], "is not an address"),
    ],
)
def test_what_names_nothing_is_refused(
    tmp_path: Path, names: list[str], addresses: list[str], why: str
) -> None:
    with pytest.raises(CliError, match=why):
        make_keys(tmp_path, names, addresses, as_json=False)
    assert not contents(tmp_path)


def test_files_of_others_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "cloud.key").write_text("mine")
    with pytest.raises(CliError, match=r"cannot use .*cloud\.key"):
        make(tmp_path)
    assert (tmp_path / "cloud.key").read_text() == "mine"
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(CliError, match="cannot make keys in"):
        make(blocked)
