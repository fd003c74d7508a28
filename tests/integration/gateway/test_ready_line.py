"""The line that a gateway prints once it is ready."""

from pathlib import Path

from tests.integration.broker.access.certificates import Authority
from tests.system import Gateway


# case B12
def test_it_names_all_addresses_of_mqtt(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).sign("gateway")
    files = {
        "HECATE_GATEWAY_BROKER_TLS_CERT": str(certificate),
        "HECATE_GATEWAY_BROKER_TLS_KEY": str(key),
    }
    gateway = Gateway(tmp_path / "state", **files, HECATE_GATEWAY_BROKER_TLS_PORT="0")
    with gateway.program:
        (line,) = (each for each in gateway.program.lines if each.startswith("gateway ready"))
        plain, secure = gateway.status()["broker"]["listeners"]
        assert f", MQTT {plain}, API " in line
        assert line.endswith(f", MQTT also on {secure}\n")
