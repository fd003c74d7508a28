"""Handles messages as a plain paho-mqtt script does: the rival of a microservice.

`python -m benchmarks.services.rivals.paho_handler PORT` publishes each message of in/# to out/#, at
QoS 1, with the time in front, as the microservice of handlers.py does.
"""

import sys
import time
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion


def main() -> None:
    """Run until it is killed."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="paho-handler", clean_session=False)
    client.max_inflight_messages_set(1_000)

    def handle(_: Client, __: Any, message: MQTTMessage) -> None:
        stamp = b"%020d" % time.perf_counter_ns()
        client.publish("out" + message.topic[2:], stamp + message.payload, qos=1)

    def subscribed(*_: Any) -> None:
        sys.stdout.write("subscribed\n")
        sys.stdout.flush()

    client.on_message = handle
    client.on_subscribe = subscribed
    client.connect("127.0.0.1", int(sys.argv[1]))
    client.subscribe("in/#", qos=1)
    client.loop_forever()


if __name__ == "__main__":
    main()
