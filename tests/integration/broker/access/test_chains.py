"""Certificates between that of the server and the authority its clients trust."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from broker.standalone.conf.load import load_broker_settings
from broker.standalone.listeners import open_listeners, renew_certificates
from tests.integration.broker.access.certificates import Authority
from tests.integration.broker.conftest import BrokerThread, start_broker

__all__ = ["start_broker"]

WAIT_S = 10.0

MOSQUITTO = """
listener 8883 127.0.0.1
certfile {certificate}
keyfile {key}
cafile {authorities}
allow_anonymous true
"""
TOML = """
[[listener]]
address = "127.0.0.1:8883"
certificate = "{certificate}"
key = "{key}"
client_ca = "{authorities}"
[access]
anonymous = "network"
allow_everything = true
"""


def shake_hands(port: int, trusted: Path) -> str:
    """Return the name of the server that a client believes, which knows only what it trusts."""
    context = ssl.create_default_context(cafile=str(trusted))
    with (
        socket.create_connection(("127.0.0.1", port), WAIT_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        subject = dict(pair for names in tls.getpeercert()["subject"] for pair in names)  # type: ignore[index,misc]
        return str(subject["commonName"])


# case B5
@pytest.mark.parametrize(("name", "text"), [("m.conf", MOSQUITTO), ("b.toml", TOML)])
def test_the_chain_is_completed_from_the_authorities(
    name: str, text: str, tmp_path: Path, start_broker: Callable[..., BrokerThread]
) -> None:
    root = Authority(tmp_path, "root")
    between = Authority(tmp_path, "between", above=root)
    certificate, key = between.sign("server")
    authorities = tmp_path / "authorities.crt"
    authorities.write_bytes(root.file.read_bytes() + between.file.read_bytes())
    config = tmp_path / name
    config.write_text(text.format(certificate=certificate, key=key, authorities=authorities))
    settings = load_broker_settings(config, {})
    listeners = [replace(each, port=0) for each in open_listeners(settings)]
    broker = start_broker(*listeners)
    assert shake_hands(broker.port, root.file) == "server"

    # and when both were renewed
    newer = Authority(tmp_path, "newer", above=root)
    renewed, renewed_key = newer.sign("renewed")
    certificate.write_bytes(renewed.read_bytes())
    key.write_bytes(renewed_key.read_bytes())
    authorities.write_bytes(root.file.read_bytes() + newer.file.read_bytes())
    broker.call(lambda: renew_certificates(settings, listeners))
    assert shake_hands(broker.port, root.file) == "renewed"
