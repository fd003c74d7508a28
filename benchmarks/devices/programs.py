"""Holds the programs for the interpreter: one for each client, as its examples are written.

Each takes a reading ten times a second and publishes it at QoS 1: `{"value": SLOT}`, where SLOT
counts the tenths of a second since the start. It prints `STAT name number` lines. With HEAP it
collects before each, so the times are measured without.
"""

WATCH = """
async def watch():
    global worst
    last, looks = time.ticks_ms(), 0
    while True:
        await asyncio.sleep_ms(10)
        now = time.ticks_ms()
        worst, last = max(worst, time.ticks_diff(now, last)), now
        looks += 1
        if looks % 50 == 0:
            print("STAT stall_ms", worst)
            if HEAP:
                gc.collect()
                print("STAT heap", gc.mem_alloc())
"""

OURS = (
    """
import asyncio, gc, time
from device import Device
device = Device()
start = time.ticks_ms()
worst = 0

@device.every(0.1)
def t():
    return time.ticks_diff(time.ticks_ms(), start) // 100

async def burst():
    while not device.link.is_up or not BURST:
        await asyncio.sleep_ms(100)
    began, left = time.ticks_ms(), BURST
    async def some():
        nonlocal left
        while left > 0:
            left -= 1
            await device.publish("burst", -1)
    await asyncio.gather(some(), some(), some(), some())
    print("STAT messages_s", BURST * 1000 / time.ticks_diff(time.ticks_ms(), began))
    while True:
        await asyncio.sleep(1000)

"""
    + WATCH
    + """\

device.add_task("burst", burst)
device.add_task("watch", watch)
device.run()
"""
)

ROBUST = """
import gc, time
from umqtt.robust import MQTTClient
client = MQTTClient("bench", "127.0.0.1", PORT, keepalive=30)
client.connect(False)
start = time.ticks_ms()
worst = 0
if BURST:
    began = time.ticks_ms()
    for _ in range(BURST):
        client.publish(b"t", b'{"value": -1}', qos=1)
    print("STAT messages_s", BURST * 1000 / time.ticks_diff(time.ticks_ms(), began))
slot = 0
while True:
    began = time.ticks_ms()
    value = time.ticks_diff(began, start) // 100
    client.publish(b"t", b'{"value": %d}' % value, qos=1)
    now = time.ticks_ms()
    worst = max(worst, time.ticks_diff(now, began))
    slot += 1
    if slot % 5 == 0:
        print("STAT stall_ms", worst)
        if HEAP:
            gc.collect()
            print("STAT heap", gc.mem_alloc())
    time.sleep_ms(max(1, (value + 1) * 100 - time.ticks_diff(now, start)))
"""

MQTT_AS = (
    """
import asyncio, gc, sys, time

class Interface:
    def __init__(self, kind=0): pass
    def active(self, on=True): return True
    def isconnected(self): return True
    def status(self, *_): return 1010
    def connect(self, *_): pass
    def disconnect(self): pass
    def config(self, *_, **__): pass

class Network:
    WLAN, STA_IF, STAT_CONNECTING, STAT_IDLE = Interface, 0, 1, 0

class Machine:
    @staticmethod
    def unique_id():
        return b"bench"

sys.modules["network"], sys.modules["machine"] = Network, Machine
from mqtt_as import MQTTClient, config
config.update(server="127.0.0.1", port=PORT, ssid="x", wifi_pw="x", queue_len=1, keepalive=30)
client = MQTTClient(config)
start = time.ticks_ms()
worst = 0

"""
    + WATCH
    + """\

async def main():
    global start
    await client.connect()
    asyncio.create_task(watch())
    if BURST:
        began = time.ticks_ms()
        for _ in range(BURST):
            await client.publish("t", '{"value": -1}', qos=1)
        print("STAT messages_s", BURST * 1000 / time.ticks_diff(time.ticks_ms(), began))
    start = time.ticks_ms()
    while True:
        value = time.ticks_diff(time.ticks_ms(), start) // 100
        await client.publish("t", '{"value": %d}' % value, qos=1)
        rest = (value + 1) * 100 - time.ticks_diff(time.ticks_ms(), start)
        await asyncio.sleep_ms(max(1, rest))

asyncio.run(main())
"""
)

PROGRAMS = {"hecate": OURS, "umqtt.robust": ROBUST, "mqtt_as": MQTT_AS}
FILES = {  # of a rival, below the folder that holds them
    "umqtt.robust": ("umqtt/simple.py", "umqtt/robust.py"),
    "mqtt_as": ("mqtt_as/__init__.py",),
}
