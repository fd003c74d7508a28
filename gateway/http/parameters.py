"""Reads and describes the parameters of requests: in paths, in queries, in JSON bodies.

Numbers are read as OpenAPI clients send them: a whole number may also be "5", "5.0" or 5.0, with
spaces around it. Error texts are part of the API.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from starlette.requests import Request

from gateway.http.problems import Problem

Choice = TypeVar("Choice", bound=StrEnum)

DIGITS_LIMIT = 4300  # int() refuses longer texts

_INTEGER = re.compile(r"([+-]?[0-9]+(?:_[0-9]+)*)(?:\.0+)?", re.ASCII)
_TRUE = ("1", "on", "t", "true", "y", "yes")
_FALSE = ("0", "off", "f", "false", "n", "no")


class InvalidValueError(ValueError):
    """A value that a parameter cannot have; its text is the reason."""


@dataclass(frozen=True, slots=True)
class PathText:
    """A part of a path that matches a pattern, if there is one."""

    name: str
    pattern: str = ""

    def read(self, request: Request) -> str:
        """Return the value; Problem 422 when it does not match."""
        value: str = request.path_params[self.name]
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise _invalid(f"path.{self.name}", f"String should match pattern '^{self.pattern}$'")
        return value

    def describe(self) -> dict[str, Any]:
        """Return the parameter object of the OpenAPI document."""
        pattern = {"pattern": f"^{self.pattern}$"} if self.pattern else {}
        schema = {"type": "string", **pattern, "title": _title(self.name)}
        return {"name": self.name, "in": "path", "required": True, "schema": schema}


@dataclass(frozen=True, slots=True)
class QueryInteger:
    """A whole number in a query."""

    name: str
    default: int
    minimum: int
    maximum: int

    def read(self, request: Request) -> int:
        """Return the value; Problem 422 when it is none or out of range."""
        text = request.query_params.get(self.name)
        if text is None:
            return self.default
        try:
            value = read_integer(text)
            check_range(value, self.maximum, minimum=self.minimum)
        except InvalidValueError as exc:
            raise _invalid(f"query.{self.name}", str(exc)) from exc
        return value

    def describe(self) -> dict[str, Any]:
        """Return the parameter object of the OpenAPI document."""
        bounds = {"maximum": self.maximum, "minimum": self.minimum}
        schema = {"type": "integer", **bounds, "default": self.default, "title": _title(self.name)}
        return {"name": self.name, "in": "query", "required": False, "schema": schema}


@dataclass(frozen=True, slots=True)
class QueryFlag:
    """A Boolean in a query; false without one."""

    name: str

    def read(self, request: Request) -> bool:
        """Return the value; Problem 422 when it is neither true nor false."""
        word = request.query_params.get(self.name, "false").lower()
        if word not in _TRUE + _FALSE:
            raise _invalid(
                f"query.{self.name}", "Input should be a valid boolean, unable to interpret input"
            )
        return word in _TRUE

    def describe(self) -> dict[str, Any]:
        """Return the parameter object of the OpenAPI document."""
        schema = {"type": "boolean", "default": False, "title": _title(self.name)}
        return {"name": self.name, "in": "query", "required": False, "schema": schema}


@dataclass(frozen=True, slots=True)
class QueryChoice(Generic[Choice]):
    """One of some words in a query."""

    name: str
    default: Choice

    def read(self, request: Request) -> Choice:
        """Return the value; Problem 422 when it is another word."""
        kind = type(self.default)
        try:
            return kind(request.query_params.get(self.name, self.default))
        except ValueError as exc:
            words = " or ".join(f"'{each}'" for each in kind)
            raise _invalid(f"query.{self.name}", f"Input should be {words}") from exc

    def describe(self) -> dict[str, Any]:
        """Return the parameter object of the OpenAPI document."""
        reference = f"#/components/schemas/{type(self.default).__name__}"
        schema = {"$ref": reference, "default": str(self.default)}
        return {"name": self.name, "in": "query", "required": False, "schema": schema}


Parameter = PathText | QueryInteger | QueryFlag | QueryChoice[Any]


def read_integer(value: Any) -> int:
    """Return a whole number; InvalidValueError for anything else."""
    if isinstance(value, str):
        text = value.strip()
        if len(text) > DIGITS_LIMIT:
            raise InvalidValueError(
                "Unable to parse input string as an integer, exceeded maximum size"
            )
        found = _INTEGER.fullmatch(text)
        if not found:
            raise InvalidValueError(
                "Input should be a valid integer, unable to parse string as an integer"
            )
        return int(found[1])
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    fraction = ", got a number with a fractional part" if isinstance(value, float) else ""
    raise InvalidValueError(f"Input should be a valid integer{fraction}")


def read_number(value: Any) -> float:
    """Return a number; InvalidValueError for anything else."""
    if isinstance(value, str):
        try:
            if value.isascii():
                return float(value)
        except ValueError:
            pass
        raise InvalidValueError(
            "Input should be a valid number, unable to parse string as a number"
        )
    if isinstance(value, int | float):
        return float(value)
    raise InvalidValueError("Input should be a valid number")


def check_range(
    value: float, maximum: float, *, minimum: float | None = None, above: float | None = None
) -> None:
    """Raise InvalidValueError for a value that is out of range; not-a-number always is."""
    if not value <= maximum:
        raise InvalidValueError(f"Input should be less than or equal to {maximum}")
    if minimum is not None and not value >= minimum:
        raise InvalidValueError(f"Input should be greater than or equal to {minimum}")
    if above is not None and not value > above:
        raise InvalidValueError(f"Input should be greater than {above}")


def _invalid(where: str, why: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"cannot read request: {where}: {why}")


def _title(name: str) -> str:
    return name.replace("_", " ").title()
