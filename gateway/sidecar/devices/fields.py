"""Reads the fields of the JSON bodies of requests about devices."""

from collections.abc import Collection, Iterable
from http import HTTPStatus
from typing import Any

from starlette.requests import Request

from gateway.devices.joining.requests import check_groups, check_name
from gateway.http.body import read_body
from gateway.http.problems import Problem
from web import JsonError, parse_json


async def read_fields(request: Request, known: tuple[str, ...], what: str) -> dict[str, Any]:
    """Return the known fields of a JSON object, none for an empty body; Problem 422 otherwise."""
    fields = parse_fields(await read_body(request), what)
    refuse_others(fields, known, what)
    return fields


def parse_fields(body: bytes, what: str) -> dict[str, Any]:
    """Return all fields of a JSON object, none for an empty body; Problem 422 otherwise."""
    if not body.strip():
        return {}
    try:
        fields = parse_json(body)
    except JsonError as exc:
        raise invalid(what, f"body: {exc}") from exc
    if not isinstance(fields, dict):
        raise invalid(what, "body: Input should be an object")
    return fields


def refuse_others(fields: Iterable[str], known: Collection[str], what: str) -> None:
    """Refuse fields that a request does not have: Problem 422."""
    for name in fields:
        if name not in known:
            raise invalid(what, f"{name:.40}: Extra inputs are not permitted")


def read_name(fields: dict[str, Any], what: str) -> str | None:
    """Return the name in the fields, None without one; Problem 422 for another value."""
    name = fields.get("name")
    if name is None:
        return None
    try:
        check_name(name if isinstance(name, str) else "")
    except ValueError as exc:
        raise invalid(what, str(exc)) from exc
    return str(name)


def read_groups(fields: dict[str, Any], what: str) -> tuple[str, ...] | None:
    """Return the groups in the fields, None without them; Problem 422 for other values."""
    groups = fields.get("groups")
    if groups is None:
        return None
    if not isinstance(groups, list) or not all(isinstance(each, str) for each in groups):
        raise invalid(what, "groups: Input should be a list of texts")
    unique = tuple(dict.fromkeys(groups))
    try:
        check_groups(unique)
    except ValueError as exc:
        raise invalid(what, str(exc)) from exc
    return unique


def invalid(what: str, why: str) -> Problem:
    """Return the problem of a request that cannot be read."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"cannot {what}: {why}")
