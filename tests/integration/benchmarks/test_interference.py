"""A gateway is measured while loads run beside the probe."""

import pytest

from benchmarks.interference import API, MQTT, VARIANTS, Probes, measure

PROBES: Probes = {MQTT: {"both": ("uploads", "requests")}, API: {"qos1": ("qos1",)}}


@pytest.mark.parametrize("name", ["loop", "thread"])
def test_probes_are_answered_and_loads_get_something_done(name: str) -> None:
    mqtt, api = measure(VARIANTS[name], 0.4, PROBES)
    assert (len(mqtt.latencies), len(api.latencies)) == (200, 20)
    assert all(latency > 0 for latency in (*mqtt.latencies, *api.latencies))
    assert "MB/s" in mqtt.done
    assert "requests/s" in mqtt.done
    assert "messages/s" in api.done
