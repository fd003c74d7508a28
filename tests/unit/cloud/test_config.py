from pathlib import Path

import pytest

from cloud.config import CloudConfig, load_cloud_config
from settings.errors import SettingsError

HOME = {"XDG_STATE_HOME": "/var/lib/x"}


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> CloudConfig:
    path = tmp_path / "cloud.toml"
    path.write_text(text)
    return load_cloud_config(path, HOME | (environ or {}))


def test_defaults_are_those_a_person_meets() -> None:
    config = load_cloud_config(None, HOME)
    assert (config.api.port, config.mqtt.port, config.relay.port) == (8080, 1884, 8443)
    assert {config.api.host, config.mqtt.host, config.relay.host} == {"127.0.0.1"}
    assert not config.mid.development
    assert config.store.directory == Path("/var/lib/x/hecate/cloud")


def test_file_and_environment(tmp_path: Path) -> None:
    text = """
    [api]
    port = 1
    [[mid.providers]]
    issuer = "https://login.example"
    client_id = "hecate"
    """
    config = load(
        tmp_path, text, {"HECATE_CLOUD_API_PORT": "2", "HECATE_CLOUD_MID_DEVELOPMENT": "true"}
    )
    assert config.api.port == 2
    assert config.mid.development
    assert [p.issuer for p in config.mid.providers] == ["https://login.example"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[api]\nprot = 1", "[api] prot: is not known"),
        ("[mqtt]\nport = 70000", "port must be from 0 to 65535"),
        ("[mst]\nttl_s = 5", "ttl_s must be from 60 to 86400"),
        ('[mss]\nreplica = "a/b"', "replica must be"),
        ("[mss]\nopen_limit = 0", "open_limit must be above 0"),
        ("[mss]\nbep_ttl_limit_s = 1", "bep_ttl_limit_s must be at least"),
        ('[log]\nlevel = "loud"', 'level = "loud": must be'),
        ('[api]\npublic_url = "ftp://x"', "public_url must start"),
        ('[[mid.providers]]\nissuer = "http://x"\nclient_id = "y"', "issuer must start"),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_key_and_reason(
    tmp_path: Path, text: str, why: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert why in str(caught.value)
    assert "cloud.toml" in str(caught.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*none\.toml"):
        load_cloud_config(tmp_path / "none.toml", HOME)


def test_replica_name_is_kept_or_made() -> None:
    config = load_cloud_config(None, HOME | {"HECATE_CLOUD_MSS_REPLICA": "one"})
    assert config.mss.with_replica().replica == "one"
    fresh = load_cloud_config(None, HOME).mss
    assert fresh.with_replica().replica != fresh.with_replica().replica
