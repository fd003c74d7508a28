"""Runs a simulated device; also an example for a real one: copy it to /main.py."""

from device import Device
from device.sensors.switch import Switch
from device.sensors.temperature import WanderingTemperature

device = Device()
room = WanderingTemperature()
lamp = Switch(device.board.light)


@device.every(device.config.interval_s, unit="°C")
def temperature():
    return room.read()


@device.command
def light(args):
    lamp.set(args.get("on"))
    return {"on": lamp.is_on}


device.run()
