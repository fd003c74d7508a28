"""Reads and writes positions on the earth (WGS 84), and measures distances. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocol.errors import WireError

EARTH_RADIUS_M = 6_371_008.8  # mean radius; a sphere is wrong by 0.5 % at most
FARTHEST_M = 20_037_509.0  # half of the equator
NEAR_M = 10_000  # of a node that names no radius
DECIMALS = 7  # 1 cm
TEXT_LIMIT = 32


@dataclass(frozen=True, slots=True)
class Position:
    """Degrees of latitude and longitude, and how it is known."""

    latitude: float
    longitude: float
    origin: str = "configured"  # or "gps"
    at: float = 0.0  # unix seconds of a GPS position; 0 for a configured one

    def distance_m(self, other: "Position") -> float:
        """Return the distance to another position in metres (haversine formula)."""
        a, b = math.radians(self.latitude), math.radians(other.latitude)
        half_north = (b - a) / 2
        half_east = math.radians(other.longitude - self.longitude) / 2
        square = math.sin(half_north) ** 2 + math.cos(a) * math.cos(b) * math.sin(half_east) ** 2
        return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, square)))


def read_position(first: Any, second: Any, origin: str, at: float = 0.0) -> Position:
    """Return the position in two numbers, or texts of such.

    The first is the latitude, unless only the second can be one: callers of the compatible API use
    both orders.

    Raises:
        WireError: they are no position.
    """
    one, other = _degrees(first), _degrees(second)
    if abs(one) > 90:
        one, other = other, one
    if abs(one) > 90 or abs(other) > 180:
        raise WireError("a latitude is from -90 to 90, a longitude from -180 to 180")
    return Position(round(one, DECIMALS), round(other, DECIMALS), origin, at)


def parse_position(text: str) -> Position:
    """Return the position in "LATITUDE, LONGITUDE"; WireError for another text."""
    first, comma, second = text.partition(",")
    if not comma:
        raise WireError('a position is "LATITUDE, LONGITUDE"')
    if abs(_degrees(first)) > 90:
        raise WireError("a latitude is from -90 to 90, and comes first")
    return read_position(first, second, "configured")


def position_fields(position: Position) -> dict[str, Any]:
    """Return a position as records show it: a point of GeoJSON (RFC 7946), longitude first."""
    return {
        "type": "Point",
        "coordinates": [position.longitude, position.latitude],
        "origin": position.origin,
        "at": position.at,
    }


def position_from(fields: Any) -> Position | None:
    """Return the position in a record; None for none; WireError for a malformed one."""
    if fields is None:
        return None
    if not isinstance(fields, Mapping) or fields.get("type") != "Point":
        raise WireError("a location is a point")
    coordinates, origin, at = fields.get("coordinates"), fields.get("origin"), fields.get("at", 0.0)
    if not isinstance(coordinates, list) or len(coordinates) != 2:
        raise WireError("a point has a longitude and a latitude")
    if origin not in ("gps", "configured") or not isinstance(at, int | float):
        raise WireError("a location has an origin and a time")
    longitude, latitude = coordinates
    if abs(_degrees(latitude)) > 90:
        raise WireError("a point has its longitude first")
    try:
        return read_position(latitude, longitude, origin, float(at))
    except OverflowError as exc:
        raise WireError("the time of a location is too large") from exc


def _degrees(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise WireError(f"{value!r:.32} is no number of degrees")
    if isinstance(value, str) and (len(value) > TEXT_LIMIT or not value.isascii()):
        raise WireError(f"{value!r:.32} is no number of degrees")
    try:
        degrees = float(value)
    except (ValueError, OverflowError) as exc:
        raise WireError(f"{value!r:.32} is no number of degrees") from exc
    if not math.isfinite(degrees):
        raise WireError(f"{value!r:.32} is no number of degrees")
    return degrees
