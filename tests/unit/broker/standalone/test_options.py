from dataclasses import replace
from pathlib import Path

import pytest

from broker.quota.limits import Limits
from broker.standalone.conf.settings import Anonymous, ListenerSettings
from broker.standalone.errors import CommandError, ConfError
from broker.standalone.options import open_to, show_metrics, store_in

HERE, EVERYWHERE = "127.0.0.1:0", "0.0.0.0:0"


def test_nobody_gets_in_by_silence() -> None:
    with pytest.raises(CommandError, match="add --anonymous"):
        open_to([HERE], Anonymous.NO, {})
    with pytest.raises(CommandError, match="add --open-to-network"):
        open_to([HERE, EVERYWHERE], Anonymous.LOOPBACK, {})
    open_to([HERE], Anonymous.LOOPBACK, {})
    open_to([HERE, EVERYWHERE], Anonymous.NETWORK, {})


def test_a_listener_is_host_and_port() -> None:
    with pytest.raises(CommandError, match="cannot listen on 1883: must be HOST:PORT"):
        open_to(["1883"], Anonymous.LOOPBACK, {})


def test_the_environment_gives_what_the_options_do_not() -> None:
    environ = {
        "HECATE_BROKER_LIMITS_CONNECTIONS": "7",
        "HECATE_BROKER_STORAGE_FOLDER": "/data",
        "HECATE_BROKER_LISTENER": '[{address = "127.0.0.1:1"}]',
    }
    settings = open_to([], Anonymous.LOOPBACK, environ)
    assert settings.limits == Limits(connections=7)
    assert settings.data == Path("/data")
    assert settings.listeners == (ListenerSettings(port=1),)
    assert settings.log_level == "WARNING"
    assert open_to([HERE], Anonymous.LOOPBACK, environ).listeners == (ListenerSettings(port=0),)
    louder = {**environ, "HECATE_LOG_LEVEL": "DEBUG"}
    assert open_to([], Anonymous.LOOPBACK, louder).log_level == "DEBUG"
    with pytest.raises(ConfError, match="HECATE_BROKER_PORT: is not known"):
        open_to([], Anonymous.LOOPBACK, {"HECATE_BROKER_PORT": "1"})


def test_the_environment_may_name_users_and_rights() -> None:
    users = {
        "HECATE_BROKER_ACCESS_PASSWORD_FILE": "users",
        "HECATE_BROKER_ACCESS_ALLOW_EVERYTHING": "true",
    }
    assert open_to([], Anonymous.NO, users).access.password_file == Path("users")
    with pytest.raises(CommandError, match="cannot use --anonymous"):
        open_to([], Anonymous.LOOPBACK, users)
    with pytest.raises(CommandError, match="nobody could connect"):
        open_to([], Anonymous.NO, {"HECATE_BROKER_ACCESS_ALLOW_EVERYTHING": "true"})


def test_metrics_and_storage() -> None:
    settings = open_to([HERE], Anonymous.LOOPBACK, {})
    with pytest.raises(CommandError, match="cannot show metrics on 9234: must be HOST:PORT"):
        show_metrics(settings, "9234", to_network=False)
    with pytest.raises(CommandError, match="add --open-to-network"):
        show_metrics(settings, EVERYWHERE, to_network=False)
    assert show_metrics(settings, EVERYWHERE, to_network=True).metrics is not None
    with pytest.raises(CommandError, match="it goes with --data DIR"):
        store_in(settings, None, "synced")
    assert store_in(settings, Path("d"), "os") == replace(settings, data=Path("d"), durability="os")
