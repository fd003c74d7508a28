"""Users, rights and TLS with other people's clients."""

import contextlib
import json
import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from broker.access.tokens import LEEWAY_S
from tests.integration.broker.access.certificates import Authority
from tests.integration.broker.access.conftest import ALONE, Alone, rights, users
from tests.paho_client import Paho
from tests.peers import require

Start = Callable[..., Alone]

RULES = """
topic read news
user anna
topic readwrite plant/#
topic deny plant/safe/#
user ben
topic read plant/+/temperature
pattern readwrite own/%u/%c/#
"""


def publish(port: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = [require("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(port), "-q", "1", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_mosquitto_clients_with_users_and_rights(alone: Start, tmp_path: Path) -> None:
    users(tmp_path, anna="secret", ben="other")
    rights(tmp_path, RULES)
    broker = alone()
    assert broker.who == "users"
    topic = ["-t", "plant/1/temperature", "-m", "21"]
    assert publish(broker.port, "-u", "anna", "-P", "secret", "-r", *topic).returncode == 0
    for wrong in (["-u", "anna", "-P", "wrong"], ["-u", "carl", "-P", "secret"], ["-u", "anna"]):
        done = publish(broker.port, *wrong, *topic)
        assert done.returncode != 0
        assert "not authorised" in done.stderr.lower() or "bad user" in done.stderr.lower()
    assert publish(broker.port, *topic).returncode != 0
    refused = publish(broker.port, "-V", "5", "-u", "ben", "-P", "other", *topic)
    assert "Not authorized" in refused.stderr
    command = [require("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(broker.port), "-C", "1"]
    heard = subprocess.run(
        [*command, "-W", "20", "-u", "ben", "-P", "other", "-t", "plant/+/temperature"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert heard.stdout == "21\n"
    nothing = subprocess.run(
        [*command, "-W", "20", "-u", "ben", "-P", "other", "-t", "#"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert "denied" in nothing.stderr


def test_rights_by_reason_code(alone: Start, tmp_path: Path) -> None:
    users(tmp_path, anna="secret")
    rights(tmp_path, RULES)
    broker = alone()
    with broker.client("anna", "secret", "phone") as anna:
        assert anna.connect("127.0.0.1", broker.port)[1] == "Success"
        for topic_filter in (
            "#",
            "+",
            "$SYS/#",
            "plant/safe/#",
            "plant/safe",
            "own/+/phone/#",
            "news",
        ):
            assert anna.subscribe(topic_filter) == "Not authorized", topic_filter
        for topic_filter in ("plant/1", "plant/#", "own/anna/phone/#"):
            assert anna.subscribe(topic_filter, 1) == "Granted QoS 1", topic_filter
        assert anna.publish("plant/1", b"x", 1) == "Success"
        assert anna.publish("plant/safe/1", b"x", 1) == "Not authorized"
        assert anna.publish("own/ben/phone/x", b"x", 1) == "Not authorized"
        assert anna.publish("$SYS/x", b"x", 1) == "Not authorized"


@pytest.mark.parametrize("trick", ["+", "#", "phone/#", "a/+"])
def test_wildcards_in_a_client_id_reach_nothing(
    alone: Start, tmp_path: Path, trick: str
) -> None:  # CVE-2017-7650
    users(tmp_path, anna="secret")
    rights(
        tmp_path, "pattern readwrite id/%c/#\npattern deny locked/%c\npattern readwrite locked/#"
    )
    broker = alone()
    with broker.client("anna", "secret", trick) as anna:
        assert anna.connect("127.0.0.1", broker.port)[1] == "Success"
        for topic_filter in (f"id/{trick}", "id/#", "id/+/x", "id/other/x", "#", "locked/x"):
            with contextlib.suppress(ValueError):  # paho knows that some are no filters
                assert anna.subscribe(topic_filter) == "Not authorized"
        for topic in ("id/x/y", "locked/other"):
            assert anna.publish(topic, b"x", 1) == "Not authorized"


@pytest.mark.parametrize("arguments", [[], ["-H", "sha512"]], ids=["pbkdf2", "sha512"])
def test_a_password_file_of_mosquitto(alone: Start, tmp_path: Path, arguments: list[str]) -> None:
    program = require("mosquitto_passwd")
    (tmp_path / "passwords").touch(0o600)
    subprocess.run(
        [program, *arguments, "-b", tmp_path / "passwords", "anna", "secret"], check=True
    )
    kind = "$6$" if arguments else "$7$"
    assert (tmp_path / "passwords").read_text().startswith(f"anna:{kind}")
    rights(tmp_path, "user anna\ntopic t")
    broker = alone()
    assert publish(broker.port, "-u", "anna", "-P", "secret", "-t", "t", "-n").returncode == 0
    assert publish(broker.port, "-u", "anna", "-P", "Secret", "-t", "t", "-n").returncode != 0


TLS = """
[[listener]]
address = "127.0.0.1:0"
certificate = "server.crt"
key = "server.key"

[[listener]]
address = "127.0.0.1:0"
certificate = "server.crt"
key = "server.key"
client_ca = "ca.crt"
client_certificates = "required"

[[listener]]
path = "broker.sock"

[access]
anonymous = "loopback"
allow_everything = true
"""


CERTIFIED = """
[listener.access]
certificate_name = "common-name"
acl_file = "acl"
"""


def test_tls_client_certificates_and_a_unix_socket(alone: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.sign("server")
    certificate, key = authority.sign("boiler")
    other, other_key = Authority(tmp_path, "other").sign("thief")
    broker = alone(TLS)
    assert [each.endswith(" (TLS)") for each in broker.addresses] == [True, True, False]
    tls = ["--cafile", str(authority.file), "-t", "t", "-m", "x"]
    assert publish(broker.port, *tls).returncode == 0
    assert publish(broker.port, "-t", "t", "-m", "x").returncode != 0
    port = broker.port_of(1)
    assert publish(port, *tls, "--cert", str(certificate), "--key", str(key)).returncode == 0
    assert publish(port, *tls, "--cert", str(other), "--key", str(other_key)).returncode != 0
    assert publish(port, *tls).returncode != 0
    with Paho("local", broker.client(None).version, transport="unix") as local:
        assert local.connect(tmp_path / "broker.sock")[1] == "Success"


def test_a_certificate_is_a_user(alone: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.sign("server")
    certificate, key = authority.sign("boiler")
    rights(tmp_path, "user boiler\ntopic own\n")
    other = TLS.replace("127.0.0.1", "localhost", 1)  # with rights of its own, each has a name
    broker = alone(other.replace('"required"', f'"required"\n{CERTIFIED}'))
    with broker.client("anna", "any") as boiler:
        boiler.client.tls_set(str(authority.file), str(certificate), str(key))
        assert boiler.connect("127.0.0.1", broker.port_of(1))[1] == "Success"
        assert boiler.subscribe("own", 1) == "Granted QoS 1"
        assert boiler.subscribe("other") == "Not authorized"


def test_new_certificates_are_used_after_a_signal(alone: Start, tmp_path: Path) -> None:
    old = Authority(tmp_path)
    old.sign("server")
    broker = alone(TLS)
    new = Authority(tmp_path, "new")
    words = ["--cafile", str(new.file), "-t", "t", "-m", "x"]
    new.sign("server")
    assert publish(broker.port, *words).returncode != 0
    broker.reload()
    assert publish(broker.port, *words).returncode == 0
    (tmp_path / "server.key").write_text("nonsense")
    broker.reload("stay as they were: cannot use .*server.crt")
    assert publish(broker.port, *words).returncode == 0


def test_older_tls_is_refused(alone: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.sign("server")
    broker = alone(TLS)
    context = ssl.create_default_context(cafile=authority.file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    for version, is_fine in (("TLSv1_2", True), ("TLSv1_1", False), ("TLSv1", False)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        assert can_talk(context, broker.port) is is_fine


def can_talk(context: ssl.SSLContext, port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            context.wrap_socket(plain, server_hostname="127.0.0.1").close()
        except ssl.SSLError:
            return False
    return True


TOKENS = """
[[listener]]
address = "127.0.0.1:0"
[access]
acl_file = "acl.toml"
[access.tokens]
keys = "keys.json"
audience = "mqtt"
"""


def test_a_token_lets_in_as_long_as_it_is_good(alone: Start, tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256")
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    (tmp_path / "acl.toml").write_text('[[rule]]\ngroups = ["operators"]\nread = ["plant/#"]\n')
    broker = alone(TOKENS)

    def token(ttl_s: float) -> str:
        claims = {
            "sub": "anna", "aud": "mqtt", "exp": time.time() + ttl_s, "groups": ["operators"],
        }  # fmt: skip
        return jwt.encode({"alg": "ES256"}, claims, key, algorithms=["ES256"])

    with broker.client("anna", token(-LEEWAY_S - 1)) as late:
        assert late.connect("127.0.0.1", broker.port)[1] == "Bad user name or password"
    with broker.client("ben", token(60)) as other:
        assert other.connect("127.0.0.1", broker.port)[1] == "Bad user name or password"
    with broker.client("anna", token(2 - LEEWAY_S)) as anna:
        assert anna.connect("127.0.0.1", broker.port)[1] == "Success"
        assert anna.subscribe("plant/#", 1) == "Granted QoS 1"
        assert anna.subscribe("other") == "Not authorized"
        assert anna.gone.get(timeout=15) == "Maximum connect time"


def test_anonymous_and_users_side_by_side(alone: Start, tmp_path: Path) -> None:
    users(tmp_path, anna="secret")
    rights(tmp_path, RULES)
    broker = alone(ALONE + 'anonymous = "loopback"\n')
    assert broker.who == "users and anyone on this machine"
    with broker.client(None, client_id="anna") as nobody:
        assert nobody.connect("127.0.0.1", broker.port)[1] == "Success"
        assert nobody.subscribe("news", 1) == "Granted QoS 1"
        assert nobody.subscribe("plant/1") == "Not authorized"
        assert nobody.subscribe("own/anna/anna/x") == "Not authorized"
    with broker.client("anna", "wrong") as wrong:
        assert wrong.connect("127.0.0.1", broker.port)[1] == "Bad user name or password"
