"""Our own configuration file."""

import dataclasses
from pathlib import Path

import pytest

from broker.access.certificates import NameField
from broker.quota.limits import Limits
from broker.standalone.conf.load import load_broker_settings
from broker.standalone.conf.settings import Anonymous, ClientCertificates, MetricsEndpointSettings
from broker.standalone.conf.toml_conf import parse_toml
from broker.standalone.errors import ConfError

OPEN = "[access]\nanonymous = 'loopback'\nallow_everything = true\n"
FULL = """
[[listener]]
address = "[::1]:1884"

[[listener]]
address = "0.0.0.0:8883"
certificate = "server.crt"
key = "/etc/server.key"
client_ca = "ca.crt"
client_certificates = "optional"
revoked = "revoked.pem"
tls_minimum = "1.3"

[listener.access]
certificate_name = "uri"
acl_file = "machines.toml"

[[listener]]
path = "broker.sock"

[[listener]]
address = "127.0.0.1:8080"
websocket = true
origins = ["https://panel.example", "*"]
proxies = ["127.0.0.1", "10.0.0.0/8"]
connections = 50

[metrics]
address = "0.0.0.0:9234"
open_to_network = true
sys_interval_s = 0

[access]
password_file = "passwords"
acl_file = "acl.toml"

[access.tokens]
keys = "keys.json"
issuer = "us"
audience = "mqtt"

[limits]
connections = 7
connect_timeout_s = 2

[storage]
folder = "data"
durability = "os"

[log]
level = "WARNING"
"""


def test_a_full_file() -> None:
    settings, problems = parse_toml(FULL, Path("/c"), {})
    assert problems == []
    one, two, three, four = settings.listeners
    assert (one.websocket, one.origins, one.proxies, one.connections) == (False, (), (), None)
    assert (four.websocket, four.connections) == (True, 50)
    assert four.origins == ("https://panel.example", "*")
    assert four.proxies == ("127.0.0.1", "10.0.0.0/8")
    assert settings.metrics == MetricsEndpointSettings("0.0.0.0", 9234, open_to_network=True)
    assert settings.sys_interval_s == 0
    assert (one.host, one.port, one.access) == ("::1", 1884, None)
    assert two.tls is not None
    assert two.access is not None
    assert (two.tls.certificate, two.tls.key) == (Path("/c/server.crt"), Path("/etc/server.key"))
    assert two.tls.client_certificates is ClientCertificates.OPTIONAL
    assert (two.tls.minimum, two.tls.revoked) == ("1.3", Path("/c/revoked.pem"))
    assert two.access.certificate_name is NameField.URI
    assert three.path == Path("/c/broker.sock")
    assert settings.access.password_file == Path("/c/passwords")
    assert settings.access.tokens is not None
    assert settings.access.tokens.audience == "mqtt"
    assert settings.limits == Limits(connections=7, connect_timeout_s=2.0)
    assert (settings.data, settings.durability) == (Path("/c/data"), "os")
    assert settings.log_level == "WARNING"


def test_defaults() -> None:
    settings, problems = parse_toml(OPEN, Path("/c"), {})
    assert problems == []
    assert settings.access.anonymous is Anonymous.LOOPBACK
    assert [(each.host, each.port) for each in settings.listeners] == [("127.0.0.1", 1883)]
    assert settings.limits == Limits()


def test_every_limit_can_be_set() -> None:
    for field in dataclasses.fields(Limits):
        settings, problems = parse_toml(f"{OPEN}[limits]\n{field.name} = 3", Path(), {})
        assert problems == []
        assert getattr(settings.limits, field.name) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = ", "Invalid value"),
        ("", "nobody could connect: there are no users"),
        ("[access]\nanonymous = 'network'", "nobody could read or write anything"),
        ("[access]\npassword_file = 'p'", "nobody could read or write anything"),
        (OPEN + "acl_file = 'a'", "allow_everything and acl_file contradict"),
        ("port = 1", "port: is not known; known are access, limits, listener, log, metrics"),
        (OPEN + "acl = 'a'", "[access] acl: is not known"),
        ("access = 1", "[access] is not a table"),
        ("[access]\nanonymous = true", "[access] anonymous: True must be one of"),
        (OPEN + "password_file = 1", "[access] password_file: 1 is not a text"),
        (OPEN + "password_file = ''", "[access] password_file: is empty"),
        ("[access]\nallow_everything = 1", "[access] allow_everything: 1 is not true or false"),
        (OPEN + "[access.tokens]\nissuer = 'x'", "[access.tokens] keys: is required"),
        (OPEN + "[listener]\naddress = 'x'", "listener: must be written [[listener]]"),
        (OPEN + "[[listener]]\naddress = '1883'", "[listener 1] address: '1883' must be HOST:PORT"),
        (OPEN + "[[listener]]\naddress = '::1:1'", "[listener 1] address: '::1:1' put brackets"),
        (OPEN + "[[listener]]\naddres = 'x:1'", "[listener 1] addres: is not known"),
        (OPEN + "[[listener]]\naddress = 'x:1'\npath = 'p'", "[listener 1] path: a listener has"),
        (OPEN + "[[listener]]\ncertificate = 'c'", "[listener 1] certificate: TLS needs"),
        (
            OPEN + "[[listener]]\ncertificate = 'c'\nkey = 'k'\nclient_certificates = 'required'",
            "listener 127.0.0.1:1883: client certificates need an authority",
        ),
        (
            OPEN + "[[listener]]\ncertificate = 'c'\nkey = 'k'\ntls_minimum = '1.1'",
            "listener 127.0.0.1:1883: TLS 1.1 is not offered",
        ),
        (OPEN + "[[listener]]\n[[listener]]", "listener 127.0.0.1:1883: is there twice"),
        (
            OPEN + "[[listener]]\n[listener.access]\nanonymous = 'network'",
            "listener 127.0.0.1:1883: nobody could read or write anything",
        ),
        (
            "[access]\ncertificate_name = 'dns'\nallow_everything = true",
            "listener 127.0.0.1:1883: nobody could connect: certificate_name needs TLS",
        ),
        (OPEN + "[limits]\nconnections = 0", "[limits] connections: 0 must be above 0"),
        (OPEN + "[limits]\nconnections = -1", "[limits] connections: -1 must be above 0"),
        (OPEN + "[limits]\nconnections = 1.5", "[limits] connections: 1.5 is not a whole number"),
        (OPEN + "[limits]\nconnections = true", "[limits] connections: True is not a whole"),
        (OPEN + "[limits]\nclose_timeout_s = nan", "[limits] close_timeout_s: nan must be above"),
        (OPEN + "[limits]\nclose_timeout_s = inf", "[limits] close_timeout_s: inf must be above"),
        (OPEN + "[metrics]\naddress = 'x'", "[metrics] address: 'x' must be HOST:PORT"),
        (OPEN + "[metrics]\naddress = '0.0.0.0:1'", "cannot show metrics on 0.0.0.0:1: anyone on"),
        (OPEN + "[metrics]\nopen_to_network = true", "[metrics] open_to_network: goes with"),
        (
            OPEN + "[metrics]\nsys_interval_s = -1",
            "[metrics] sys_interval_s: -1.0 must be above 0, or 0",
        ),
        (
            OPEN + "[[listener]]\norigins = ['https://a.b']",
            "listener 127.0.0.1:1883: origins are for websocket = true",
        ),
        (
            OPEN + "[[listener]]\nwebsocket = true\norigins = ['a.b']",
            "listener 127.0.0.1:1883: origin 'a.b' must be like https://example.com, or *",
        ),
        (
            OPEN + "[[listener]]\norigins = 'https://a.b'",
            "[listener 1] origins: 'https://a.b' is not a list of texts",
        ),
        (
            OPEN + "[[listener]]\nproxies = ['10.0.0.1/8']",
            "listener 127.0.0.1:1883: proxies: 10.0.0.1/8 has host bits set",
        ),
        (OPEN + "[[listener]]\nconnections = 0", "[listener 1] connections: 0 must be above 0"),
        (OPEN + "[[listener]]\nwebsocket = 1", "[listener 1] websocket: 1 is not true or false"),
        (OPEN + "[log]\nlevel = 'info'", "[log] level: 'info' must be one of DEBUG"),
        (OPEN + "[storage]\ndurability = 'maybe'", "[storage] durability: 'maybe' must be one of"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, problem: str) -> None:
    _, problems = parse_toml(text, Path("/c"), {})
    assert problems
    assert problems[0].startswith(problem)


def test_free_ports_may_be_asked_for_twice_but_not_with_own_rights() -> None:
    free = "[[listener]]\naddress = '127.0.0.1:0'\n"
    assert parse_toml(OPEN + free + free, Path(), {})[1] == []
    own = "[listener.access]\nanonymous = 'network'\nallow_everything = true\n"
    assert parse_toml(OPEN + free + free + own, Path(), {})[1] == [
        "listener 127.0.0.1:0: is there twice"
    ]


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text("[access]\npassword_file='p'\nacl_file='a'\n")
    assert load_broker_settings(tmp_path / "b.toml", {}).access.acl_file == tmp_path / "a"
    with pytest.raises(ConfError, match="no such file"):
        load_broker_settings(tmp_path / "none.toml", {})
