"""Publishes minimum, maximum and mean of each hour; late readings correct an hour that is over."""

from datetime import UTC, datetime
from typing import Any

from microservice import Message, Request, Service

HOUR_S = 3600

service = Service()
late = service.counter("late_readings", "Readings of an hour that is over")


@service.on("devices/{device}/readings/{name}")
async def reading(message: Message) -> None:
    """Add a reading to its hour, which is that of its `time` if it has one."""
    value = message.json()["value"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return  # a switch has no mean
    hour = hour_of(message.json().get("time", service.now()))
    if hour > hour_of(service.now()) or is_forgotten(hour):
        late.add(counted="no")
        return
    series = f"{message['device']}/{message['name']}"
    total = await service.state.update(f"{hour}/{series}", lambda old: added(old, value))
    if hour < hour_of(service.now()) and total["published"]:
        late.add(counted="yes")
        await publish(hour, series, total)


@service.cron("2 * * * *", missed="once")
async def close_hours() -> None:
    """Publish the hours that are over, two minutes later; forget those that are long over."""
    async for key, total in service.state.items():
        hour, series = split(key)
        if is_forgotten(hour):
            await service.state.delete(key)
        elif hour < hour_of(service.now()) and total["published"] < total["count"]:
            await publish(hour, series, total)


@service.post("/close")
async def close_now(_: Request) -> dict[str, object]:
    """Publish the hours that are over, without waiting for the schedule."""
    await close_hours()
    return {}


@service.get("/hours")
async def hours(_: Request) -> dict[str, object]:
    """Answer all hours that are still open to readings."""
    return {"data": [summary(*split(key), total) async for key, total in service.state.items()]}


async def publish(hour: int, series: str, total: dict[str, Any]) -> None:
    """Publish an hour, retained: later subscribers get the last one at once."""
    await service.publish(f"hourly/{series}", summary(hour, series, total), retain=True)
    told = total["count"]  # more may have come meanwhile: the next run tells those
    await service.state.update(f"{hour}/{series}", lambda now: {**now, "published": told})


def added(old: dict[str, Any] | None, value: float) -> dict[str, Any]:
    """Return the numbers of an hour with one more reading."""
    if old is None:
        return {"count": 1, "sum": value, "min": value, "max": value, "published": 0}
    return {
        **old,
        "count": old["count"] + 1,
        "sum": old["sum"] + value,
        "min": min(old["min"], value),
        "max": max(old["max"], value),
    }


def summary(hour: int, series: str, total: dict[str, Any]) -> dict[str, Any]:
    """Return an hour as people read it."""
    return {
        "hour": datetime.fromtimestamp(hour, UTC).isoformat(),
        "series": series,
        "count": total["count"],
        "min": total["min"],
        "max": total["max"],
        "mean": round(total["sum"] / total["count"], 3),
    }


def hour_of(seconds: float) -> int:
    """Return the beginning of an hour, in unix seconds."""
    return int(seconds // HOUR_S * HOUR_S)


def is_forgotten(hour: int) -> bool:
    """Return whether an hour takes no more readings."""
    keep_hours: int = service.settings["keep_hours"]
    return hour < hour_of(service.now()) - keep_hours * HOUR_S


def split(key: str) -> tuple[int, str]:
    """Return the hour and the series in a key of the state."""
    hour, _, series = key.partition("/")
    return int(hour), series
