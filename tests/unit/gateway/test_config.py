from pathlib import Path

import pytest

from broker.quota.limits import Limits
from broker.standalone.conf.settings import ClientCertificates
from gateway.config import GatewayConfig, load_gateway_config
from gateway.errors import ConfigError
from gateway.uplink.rules import DEFAULT_TOPICS, TopicRule


def load(tmp_path: Path, text: str, **environ: str) -> GatewayConfig:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return load_gateway_config(path, {"HOME": "/home/pat", **environ})


def test_without_a_file_the_defaults_are_those_of_the_documentation() -> None:
    config = load_gateway_config(None, {"HOME": "/home/pat"})
    assert config.node.state == Path("/home/pat/.local/state/hecate")
    assert (config.broker.host, config.broker.port) == ("127.0.0.1", 1883)
    assert (config.sidecar.host, config.sidecar.port) == ("127.0.0.1", 8083)
    assert config.broker.anonymous == "no"
    assert config.uplink.topics == DEFAULT_TOPICS
    assert not config.cloud.url


def test_the_state_folder() -> None:
    xdg = {"HOME": "/home/pat", "XDG_STATE_HOME": "/var/state"}
    assert load_gateway_config(None, xdg).node.state == Path("/var/state/hecate")
    given = {**xdg, "HECATE_GATEWAY_NODE_STATE": "/srv/hecate"}
    assert load_gateway_config(None, given).node.state == Path("/srv/hecate")
    home = {"HOME": "/home/pat", "HECATE_GATEWAY_NODE_STATE": "~/mine"}
    assert load_gateway_config(None, home).node.state == Path("/home/pat/mine")
    relative = {"HECATE_GATEWAY_NODE_STATE": "here"}
    assert load_gateway_config(None, relative).node.state == Path.cwd() / "here"


def test_a_file_and_the_environment_over_it(tmp_path: Path) -> None:
    text = """
    [broker]
    port = 2883
    [cloud]
    url = "https://cloud.example.com"
    [[uplink.topics]]
    filter = "plant/#"
    direction = "up"
    qos = 0
    """
    config = load(tmp_path, text, HECATE_GATEWAY_BROKER_PORT="3883")
    assert config.broker.port == 3883
    assert config.cloud.tls
    assert config.cloud.mqtt_address == ("cloud.example.com", 1884)
    assert config.uplink.topics == (TopicRule("plant/#", "up", qos=0),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[broker]\nprot = 1", "[broker] prot: is not known"),
        ("[broker]\nport = 70000", "port = 70000: must be from 0 to 65535"),
        ('[broker]\nanonymous = "yes"', 'anonymous = "yes"'),
        ('[broker]\ntls_cert = "a"', "tls_cert and tls_key must be given together"),
        ('[cloud]\nurl = "cloud.example.com"', "must be like https://"),
        (
            "[broker]\nport = 1\n[[broker.listener]]",
            "host, port, tls_cert, tls_key, tls_port do",
        ),
        ("[[broker.listener]]\nproxies = ['x']", "[broker] listener 1: proxies: 'x' does not"),
        ("[[broker.listener]]\naccess = {}", "[broker.listener 1] access: is not known"),
        ("[broker.limits]\nholds = 0", "[broker.limits] holds: 0 must be above 0"),
        ("[spool]\nlimit_bytes = 1", "must be at least 65536"),
        ('[log]\nlevel = "LOUD"', "must be one of"),
        ('[[uplink.topics]]\nfilter = "a/#/b"\ndirection = "up"', "must be a topic filter"),
        ("[", "gateway.toml"),
    ],
)
def test_a_mistake_is_told_with_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    assert told in str(refused.value)
    assert str(tmp_path / "gateway.toml") in str(refused.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml"):
        load_gateway_config(tmp_path / "none.toml", {})


def test_the_broker_takes_the_listeners_and_limits_of_a_standalone_broker(tmp_path: Path) -> None:
    text = """
    [broker.limits]
    connections = 7
    [[broker.listener]]
    address = "0.0.0.0:8883"
    certificate = "a.crt"
    key = "a.key"
    client_certificates = "required"
    client_ca = "ca.crt"
    [[broker.listener]]
    path = "/run/mqtt"
    websocket = true
    proxies = ["10.0.0.0/8"]
    """
    broker = load(tmp_path, text, HECATE_GATEWAY_BROKER_LIMITS_IN_FLIGHT="3").broker
    assert broker.limits.build() == Limits(connections=7, in_flight=3)
    secure, unix = (table.build() for table in broker.tables)
    assert secure.tls is not None
    assert secure.tls.client_certificates is ClientCertificates.REQUIRED
    assert (unix.path, unix.websocket, unix.proxies) == (Path("/run/mqtt"), True, ("10.0.0.0/8",))


def test_without_listener_tables_the_listeners_are_those_of_host(tmp_path: Path) -> None:
    text = '[broker]\nport = 1\ntls_cert = "c"\ntls_key = "k"'
    plain, tls = load(tmp_path, text).broker.tables
    assert (str(plain.address), str(tls.address)) == ("127.0.0.1:1", "127.0.0.1:8883")
    assert (plain.certificate, tls.certificate) == (None, Path("c"))


def test_former_variables_are_refused_but_not_those_of_other_programs() -> None:
    home = {"HOME": "/home/pat"}
    with pytest.raises(ConfigError) as refused:
        load_gateway_config(None, {**home, "HECATE_BROKER_PORT": "1", "HECATE_CLOUD_URL": "x"})
    assert str(refused.value) == (
        "cannot read environment: HECATE_BROKER_PORT: is now HECATE_GATEWAY_BROKER_PORT; "
        "HECATE_CLOUD_URL: is now HECATE_GATEWAY_CLOUD_URL"
    )
    others = {"HECATE_CLOUD_MQTT_PORT": "1", "HECATE_BROKER_LIMITS_HOLDS": "1"}
    assert load_gateway_config(None, {**home, **others}) == load_gateway_config(None, home)


@pytest.mark.parametrize("name", ["barn\\u0007", "a\\nb", "\\u202eabc", "x" * 65])
def test_a_name_that_no_record_can_carry_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name must be at most 64 characters"):
        load(tmp_path, f'[node]\nname = "{name}"')
