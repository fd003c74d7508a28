"""Tells when a room becomes too warm, and when it is well again; remembers across restarts."""

import hashlib
import hmac
import json

from microservice import Message, OutboundError, Request, Service

ALARM, OK = "alarm", "ok"

service = Service()
changes = service.counter("alarm_changes", "Changes between alarm and ok")


@service.on("devices/{device}/readings/temperature")
async def check(message: Message) -> None:
    """Tell a change of state; readings between the two limits change nothing."""
    device, value = message["device"], message.json()["value"]
    before = await service.state.get(f"rooms/{device}", OK)
    after = next_state(before, value)
    if after == before:
        return
    change = {"device": device, "state": after, "value": value, "limit": service.settings["limit"]}
    await service.publish(f"alarms/{device}", change, retain=True)
    if service.settings["webhook"]:
        await call_webhook(change)
    # Only now: if anything above fails, the reading is tried again, and tells again.
    await service.state.set(f"rooms/{device}", after)
    changes.add(state=after)
    service.log.warning("state changed", **change)


@service.get("/rooms")
async def rooms(_: Request) -> dict[str, str]:
    """Answer the state of every room."""
    return {key.removeprefix("rooms/"): state async for key, state in service.state.items("rooms/")}


def next_state(before: str, value: float) -> str:
    """Return the state of a room; one in alarm must cool below the limit by the hysteresis."""
    limit = service.settings["limit"]
    if before == ALARM:
        limit -= service.settings["hysteresis"]
    return ALARM if value > limit else OK


async def call_webhook(change: dict[str, object]) -> None:
    """POST a change, signed so that the receiver knows its sender."""
    body = json.dumps(change).encode()
    key = service.secrets["webhook_secret"].encode()
    headers = {
        "content-type": "application/json",
        "x-hub-signature-256": f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}",
    }
    url = service.settings["webhook"]
    async with service.http.request("POST", url, headers=headers, body=body) as response:
        if response.status >= 300:
            raise OutboundError(f"cannot call webhook: HTTP {response.status}", response.status)
