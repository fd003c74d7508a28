"""The modules that the library of sensors brings into a process."""

import subprocess
import sys

PROBE = """
import gateway.sensors.hub, gateway.sensors.decisions, sys
print("bthome_ble" in sys.modules, "bleak" in sys.modules)
import gateway.sensors.bthome
print("bthome_ble" in sys.modules, any("pyric" in name.lower() for name in sys.modules))
"""


def test_the_library_is_loaded_when_a_sensor_is_heard_and_brings_nothing_under_the_gpl() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True", "False"]
