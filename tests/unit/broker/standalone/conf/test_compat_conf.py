"""A mosquitto.conf: its common part is read, the rest refused or told by name and line."""

from pathlib import Path

import pytest

from broker.access.certificates import NameField
from broker.quota.limits import Limits
from broker.standalone.conf.compat_conf import parse_mosquitto
from broker.standalone.conf.lines import ConfLine, read_lines
from broker.standalone.conf.load import load_broker_settings
from broker.standalone.conf.settings import Anonymous, BrokerSettings, ClientCertificates
from broker.standalone.errors import ConfError


def parse(text: str) -> tuple[BrokerSettings, list[str]]:
    return parse_mosquitto([
        ConfLine(f"line {number}", *[*content.split(None, 1), ""][:2])
        for number, content in enumerate(text.splitlines(), 1)
        if content.strip()
    ])  # fmt: skip


def good(text: str) -> BrokerSettings:
    settings, problems = parse(text)
    assert problems == []
    return settings


def test_an_empty_file_serves_this_machine_only() -> None:
    settings = good("")
    (listener,) = settings.listeners
    assert (listener.host, listener.port, listener.tls) == ("127.0.0.1", 1883, None)
    assert settings.access.anonymous is Anonymous.LOOPBACK
    assert settings.access.allow_everything
    assert settings.data is None
    assert settings.limits == Limits()


def test_with_a_listener_nobody_gets_in_unless_allowed() -> None:
    _, problems = parse("listener 1883")
    assert problems == [
        "nobody could connect: there are no users, and anonymous clients are not allowed"
    ]
    settings = good("listener 1883\nallow_anonymous true")
    assert settings.access.anonymous is Anonymous.NETWORK
    assert settings.listeners[0].host == ""
    assert good("listener 1884 127.0.0.1\npassword_file p").access.anonymous is Anonymous.NO


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("port 1884", [("", 1884, None)]),
        ("bind_address 10.0.0.1", [("10.0.0.1", 1883, None)]),
        ("bind_address ::1\nport 5", [("::1", 5, None)]),
        ("listener 1\nlistener 2 h", [("", 1, None), ("h", 2, None)]),
        ("port 3\nlistener 1", [("", 3, None), ("", 1, None)]),
        ("listener 0 /run/m.sock", [("", 0, Path("/run/m.sock"))]),
        ("listener 1\nsocket_domain ipv4", [("0.0.0.0", 1, None)]),
        ("listener 1\nsocket_domain ipv6", [("::", 1, None)]),
    ],
)
def test_listeners(text: str, places: list[tuple[str, int, Path | None]]) -> None:
    settings = good(f"allow_anonymous true\n{text}")
    assert [(each.host, each.port, each.path) for each in settings.listeners] == places


def test_tls() -> None:
    settings = good(
        "listener 8883\ncafile ca\ncapath cas\ncertfile c\nkeyfile k\nrequire_certificate true\n"
        "use_identity_as_username true\ntls_version tlsv1.3\ncrlfile r\nciphers HIGH\n"
        "password_file p\nacl_file a"
    )
    tls = settings.listeners[0].tls
    assert tls is not None
    assert (tls.certificate, tls.key, tls.client_ca) == (Path("c"), Path("k"), Path("ca"))
    assert (tls.client_ca_folder, tls.revoked) == (Path("cas"), Path("r"))
    assert (tls.minimum, tls.ciphers) == ("1.3", "HIGH")
    assert tls.client_certificates is ClientCertificates.REQUIRED
    assert settings.access.certificate_name is NameField.COMMON_NAME
    assert settings.access.password_file is None  # as Mosquitto: not asked on such a listener
    assert settings.access.acl_file == Path("a")
    without = good("listener 1\ncafile ca\ncertfile c\nkeyfile k\npassword_file p").listeners[0].tls
    assert without is not None
    assert without.client_certificates is ClientCertificates.NO


def test_each_listener_may_have_its_own_users() -> None:
    settings = good(
        "per_listener_settings true\n"
        "listener 1\nallow_anonymous true\nlistener 2\npassword_file p\nacl_file a\n"
    )
    one, two = (each.access for each in settings.listeners)
    assert one is not None
    assert two is not None
    assert (one.anonymous, one.password_file, one.allow_everything) == (
        Anonymous.NETWORK, None, True,
    )  # fmt: skip
    assert (two.anonymous, two.password_file, two.acl_file) == (Anonymous.NO, Path("p"), Path("a"))
    shared = good("listener 1\nallow_anonymous true\nlistener 2\npassword_file p\nacl_file a\n")
    assert [each.access for each in shared.listeners] == [None, None]
    assert shared.access.password_file == Path("p")
    _, problems = parse("per_listener_settings true\nlistener 1\nallow_anonymous true\nlistener 2")
    assert problems == [
        "listener :2: nobody could connect: "
        "there are no users, and anonymous clients are not allowed"
    ]


def test_limits() -> None:
    settings = good(
        "max_inflight_messages 20\nmax_queued_messages 500\nmax_queued_bytes 1000000\n"
        "max_packet_size 100000\nmax_connections 50\npersistent_client_expiration 14d\n"
        "max_keepalive 60"
    )
    assert settings.limits == Limits(
        in_flight=20, queued_messages=500, queued_bytes=1_000_000, packet_bytes=100_000,
        connections=50, session_expiry_s=14 * 86_400, keep_alive_s=60,
    )  # fmt: skip
    assert good("message_size_limit 1000").limits.packet_bytes == 1000 + 65_544
    both = good("message_size_limit 1000\nmax_packet_size 500")
    assert both.limits.packet_bytes == 500


def test_no_limit_there_is_our_limit_here_and_told() -> None:
    settings = good("max_queued_messages 0\nmax_connections -1")
    assert settings.limits == Limits()
    assert "line 1: max_queued_messages 0 means no limit; kept is our own, 10000" in (
        settings.notices
    )


def test_connections_of_several_listeners() -> None:
    text = "allow_anonymous true\nlistener 1\nmax_connections 5\nlistener 2\nmax_connections 7"
    assert [each.connections for each in good(text).listeners] == [5, 7]
    assert good(text).limits.connections == 12
    some = good(text.removesuffix("max_connections 7"))
    assert [each.connections for each in some.listeners] == [5, None]
    assert some.limits == Limits()
    assert good(text + "\nglobal_max_connections 9").limits.connections == 9


def test_websockets() -> None:
    settings = good(
        "allow_anonymous true\nlistener 1\nlistener 2\nprotocol websockets\n"
        "websockets_origin https://a.example\nwebsockets_origin https://b.example:8443"
    )
    one, two = settings.listeners
    assert (one.websocket, one.origins) == (False, ())
    assert two.websocket
    assert two.origins == ("https://a.example", "https://b.example:8443")
    assert settings.notices[0].startswith("line 4: websockets are at the path /mqtt")


def test_how_often_sys_topics_are_told() -> None:
    assert good("").sys_interval_s == 10
    assert good("sys_interval 60").sys_interval_s == 60
    assert good("sys_interval 0").sys_interval_s == 0


# the shape of the commented example that Mosquitto installs, with what people turn on
RICH = """
per_listener_settings true
pid_file /run/mosquitto/mosquitto.pid
user mosquitto
set_tcp_nodelay true
sys_interval 30
max_inflight_messages 40
max_queued_messages 2000
max_queued_bytes 0
max_packet_size 1000000
message_size_limit 500000
max_keepalive 600
memory_limit 0
persistent_client_expiration 2w
queue_qos0_messages false
retain_available true
allow_zero_length_clientid true
persistence true
persistence_location /var/lib/mosquitto/
persistence_file mosquitto.db
autosave_interval 1800
autosave_on_changes false
log_dest file /var/log/mosquitto/mosquitto.log
log_type error
log_type warning
log_type notice
log_type information
connection_messages true
log_timestamp true
log_timestamp_format %Y-%m-%dT%H:%M:%S

listener 1883 127.0.0.1
allow_anonymous true

listener 8883
max_connections 500
cafile /etc/mosquitto/ca_certificates/ca.crt
certfile /etc/mosquitto/certs/server.crt
keyfile /etc/mosquitto/certs/server.key
require_certificate true
use_identity_as_username true
tls_version tlsv1.2
acl_file /etc/mosquitto/aclfile

listener 9001
protocol websockets
socket_domain ipv4
websockets_origin https://panel.example
password_file /etc/mosquitto/pwfile
acl_file /etc/mosquitto/aclfile

listener 0 /run/mosquitto/mosquitto.sock
allow_anonymous true
acl_file /etc/mosquitto/local
"""


def test_a_rich_configuration() -> None:
    settings, problems = parse(RICH)
    assert problems == []
    local, tls, web, unix = settings.listeners
    assert [each.name for each in settings.listeners] == [
        "127.0.0.1:1883", ":8883", "0.0.0.0:9001", "/run/mosquitto/mosquitto.sock",
    ]  # fmt: skip
    assert (tls.connections, web.websocket) == (500, True)
    assert None not in {each.access for each in settings.listeners}
    assert local.access is not None
    assert local.access.allow_everything
    assert unix.access is not None
    assert unix.access.acl_file == Path("/etc/mosquitto/local")
    assert web.access is not None
    assert web.access.anonymous is Anonymous.NO
    limits = settings.limits
    assert (limits.in_flight, limits.queued_messages, limits.packet_bytes) == (40, 2000, 565_544)
    assert limits.session_expiry_s == 14 * 86_400
    assert (settings.sys_interval_s, settings.log_level) == (30, "INFO")
    told = " ".join(settings.notices)
    for option in ("pid_file", "user", "log_dest", "persistence_file", "max_queued_bytes 0"):
        assert f": {option} " in told


def test_a_rich_configuration_with_faults_names_them_all() -> None:
    _, problems = parse(
        RICH.replace("sys_interval 30", "sys_interval often").replace(
            "protocol websockets", "protocol http_api\nmount_point house/"
        )
        + "plugin /usr/lib/mosquitto_dynamic_security.so\nlistener_allow_anonymous true\n"
    )
    assert [each.split(": ", 1)[1] for each in problems] == [
        "mount_point: topics are not rewritten",
        "plugin: plugins cannot be loaded",
        "listener_allow_anonymous: is not known",
        "protocol: 'http_api' is not mqtt or websockets",
        "websockets_origin: stands at a listener without protocol websockets",
        "sys_interval: 'often' is not a number from 0 to 65535",
    ]


def test_storage_and_logs() -> None:
    settings = good("persistence true\npersistence_location /var/lib/m/\nlog_type error")
    assert settings.data == Path("/var/lib/m")
    assert settings.log_level == "ERROR"
    assert good("persistence false\npersistence_location /x").data is None
    assert good("log_type error\nlog_type all\nlog_type warning").log_level == "DEBUG"


def test_what_changes_nothing_is_told() -> None:
    settings = good("pid_file /run/m.pid\nautosave_interval 5\nlog_dest file /x")
    assert settings.notices == (
        "line 1: pid_file is ignored: the broker stays in the foreground",
        "line 2: autosave_interval is ignored: stored data is written as it comes",
        "line 3: log_dest is ignored: logs go to standard error",
        "without acl_file everyone may read and write everything",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("connection bridge", "line 1: connection: bridges are not offered"),
        ("\nplugin x.so", "line 2: plugin: plugins cannot be loaded"),
        ("frobnicate 1", "line 1: frobnicate: is not known"),
        ("Listener 1883", "line 1: Listener: is not known"),
        ("protocol http_api", "line 1: protocol: 'http_api' is not mqtt or websockets"),
        ("check_retain_source false", "line 1: check_retain_source: only true is offered"),
        ("sys_interval -1", "line 1: sys_interval: '-1' is not a number from 0 to 65535"),
        ("max_topic_alias 5", "line 1: max_topic_alias: say it in a TOML file: topic_aliases"),
        ("enable_proxy_protocol 2", "line 1: enable_proxy_protocol: say in a TOML file, by"),
        (
            "websockets_origin https://a.example",
            "line 1: websockets_origin: stands at a listener without protocol websockets",
        ),
        (
            "protocol websockets\nwebsockets_origin a.example",
            "listener 127.0.0.1:1883: origin 'a.example' must be like https://example.com, or *",
        ),
        ("listener", "line 1: listener: 'missing' is not a port"),
        ("listener x", "line 1: listener: 'x' is not a port"),
        ("listener 70000", "line 1: listener: '70000' is not a port"),
        ("listener 0", "line 1: listener: port 0 goes with the absolute path of a Unix socket"),
        ("listener 0 m.sock", "line 1: listener: port 0 goes with the absolute path"),
        ("max_packet_size x", "line 1: max_packet_size: 'x' is not a number from"),
        ("max_packet_size -1", "line 1: max_packet_size: '-1' is not a number from"),
        ("max_packet_size 1_0", "line 1: max_packet_size: '1_0' is not a number from"),
        ("max_keepalive 70000", "line 1: max_keepalive: '70000' is not a number from"),
        ("allow_anonymous yes", "line 1: allow_anonymous: 'yes' is not true or false"),
        ("persistent_client_expiration 2", "line 1: persistent_client_expiration: '2' must be"),
        ("password_file", "line 1: password_file: has no value"),
        ("log_type loud", "line 1: log_type: 'loud' must be one of"),
        ("listener 1\ncertfile c", "line 2: certfile: TLS needs certfile and keyfile"),
        ("cafile c\nlistener 1\nallow_anonymous true", "line 1: cafile: stands above the listener"),
        (
            "listener 1\ncertfile c\nkeyfile k\ntls_version tlsv1.1",
            "line 4: tls_version: 'tlsv1.1'",
        ),
        (
            "listener 1\ncertfile c\nkeyfile k\nuse_identity_as_username true",
            "line 4: use_identity_as_username: needs require_certificate true",
        ),
        (
            "listener 1\ncertfile c\nkeyfile k\nrequire_certificate true\nallow_anonymous true",
            "listener :1: client certificates need an authority",
        ),
        ("listener 1\nper_listener_settings true", "line 2: per_listener_settings: must stand"),
        ("acl_file a\nper_listener_settings true", "line 2: per_listener_settings: must stand"),
        ("listener 1\nlistener 1\nallow_anonymous true", "listener :1: is there twice"),
    ],
)
def test_what_is_not_kept_is_refused_by_name_and_line(text: str, problem: str) -> None:
    _, problems = parse(text)
    assert problems
    assert problems[0].startswith(problem)


def test_all_problems_are_told_at_once() -> None:
    _, problems = parse("connection a\nfoo 1\nlistener 1\nbar 2\nmount_point x")
    assert [each.partition(": ")[0] for each in problems] == [
        "line 1",
        "line 2",
        "line 4",
        "line 5",
    ]


def test_files_and_included_folders(tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "b.conf").write_text("listener 2\n")
    (folder / "a.conf").write_text("# first\nlistener 1\n")
    (folder / "c.txt").write_text("nonsense\n")
    path = tmp_path / "mosquitto.conf"
    path.write_text(f"  allow_anonymous   true  \n\ninclude_dir {folder}\nlistener 3\n")
    assert [each.port for each in load_broker_settings(path, {}).listeners] == [1, 2, 3]
    (folder / "b.conf").write_text("\nlistner 2\n")
    with pytest.raises(ConfError, match=f"{folder}/b.conf line 2: listner: is not known"):
        load_broker_settings(path, {})


def test_a_folder_that_includes_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text(f"include_dir {tmp_path}\n")
    with pytest.raises(ConfError, match="deeper than"):
        read_lines(tmp_path / "a.conf")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfError, match="no such file or directory"):
        load_broker_settings(tmp_path / "none.conf", {})
    (tmp_path / "m.conf").write_text(f"include_dir {tmp_path}/none\n")
    with pytest.raises(ConfError, match="line 1: include_dir: no such file or directory"):
        load_broker_settings(tmp_path / "m.conf", {})


def test_that_of_debian_is_read() -> None:
    path = Path("/etc/mosquitto/mosquitto.conf")
    if not path.exists():
        pytest.skip("mosquitto is not installed")
    settings = load_broker_settings(path, {})
    assert settings.data == Path("/var/lib/mosquitto")
    assert settings.access.anonymous is Anonymous.LOOPBACK
    assert [each.partition(": ")[2].split()[0] for each in settings.notices[:2]] == [
        "pid_file", "log_dest",
    ]  # fmt: skip


def test_every_option_in_debians_example_is_known_by_name() -> None:
    path = Path("/usr/share/doc/mosquitto/examples/mosquitto.conf")
    if not path.exists():
        pytest.skip("mosquitto's documentation is not installed")
    text, _, bridges = path.read_text().partition("# Bridges")
    assert bridges
    words = [line[1:].split() for line in text.splitlines() if line[:1] == "#" and line[1:2] != " "]
    names = {each[0] for each in words if each and each[0].replace("_", "").isalnum()}
    assert len(names) > 50
    _, problems = parse("".join(f"{name} 1\n" for name in sorted(names)))
    assert [each for each in problems if "is not known" in each] == []
