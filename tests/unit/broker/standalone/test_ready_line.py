from pathlib import Path

import pytest

from broker.standalone.conf.settings import (
    AccessSettings,
    Anonymous,
    BrokerSettings,
    ListenerSettings,
)
from broker.standalone.ready_line import describe_clients, write_ready_line

OPEN = AccessSettings(anonymous=Anonymous.NETWORK, allow_everything=True)


@pytest.mark.parametrize(
    ("listener", "clients"),
    [
        (ListenerSettings("127.0.0.1"), "anyone on this machine"),
        (ListenerSettings(path=Path("broker.sock")), "anyone on this machine"),
        (ListenerSettings("127.0.0.1", proxies=("127.0.0.1",)), "anyone on the network"),
        (ListenerSettings("0.0.0.0"), "anyone on the network"),
        (ListenerSettings(""), "anyone on the network"),
    ],
)
def test_it_says_which_clients_can_connect(listener: ListenerSettings, clients: str) -> None:
    assert describe_clients(BrokerSettings((listener,), OPEN)) == clients


def test_it_names_every_address_with_its_features() -> None:
    listeners = (ListenerSettings("::1", 0, websocket=True), ListenerSettings(path=Path("b.sock")))
    line = write_ready_line(BrokerSettings(listeners, OPEN), [[("::1", 7)], [Path("/r/b.sock")]])
    assert line == (
        "broker ready: MQTT [::1]:7 (WebSocket), /r/b.sock; anyone on this machine may connect"
    )
