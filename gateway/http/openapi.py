"""Builds the OpenAPI document of an API from its routes."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.http.routes import OBJECT, ApiRoute, Operation

_INVALID = {
    "description": "Validation Error",
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}
    },
}
_VALIDATION_ERRORS = {
    "HTTPValidationError": {
        "properties": {
            "detail": {
                "items": {"$ref": "#/components/schemas/ValidationError"},
                "type": "array",
                "title": "Detail",
            }
        },
        "type": "object",
        "title": "HTTPValidationError",
    },
    "ValidationError": {
        "properties": {
            "loc": {
                "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                "type": "array",
                "title": "Location",
            },
            "msg": {"type": "string", "title": "Message"},
            "type": {"type": "string", "title": "Error Type"},
            "input": {"title": "Input"},
            "ctx": {"type": "object", "title": "Context"},
        },
        "type": "object",
        "required": ["loc", "msg", "type"],
        "title": "ValidationError",
    },
}


def describe_api(
    info: Mapping[str, str], routes: Iterable[ApiRoute], schemas: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the document; schemas are those that operations refer to by name."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.operation is not None:
            described = _describe(route, route.operation)
            paths.setdefault(route.path, {})[route.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": dict(info),
        "paths": paths,
        "components": {"schemas": {**schemas, **_VALIDATION_ERRORS}},
    }


def _describe(route: ApiRoute, operation: Operation) -> dict[str, Any]:
    name = re.sub(r"\W", "_", f"{route.name}{route.path}") + f"_{route.method.lower()}"
    described: dict[str, Any] = {"tags": [operation.tag], "summary": operation.summary}
    if operation.description:
        described["description"] = operation.description
    described["operationId"] = name
    if operation.parameters:
        described["parameters"] = [each.describe() for each in operation.parameters]
    if operation.body is not None:
        media_type, schema = operation.body
        described["requestBody"] = {"content": {media_type: {"schema": dict(schema)}}}
    good: dict[str, Any] = {"description": "Successful Response"}
    if operation.answer is not None:
        answer = dict(operation.answer)
        if answer.get("type") == OBJECT["type"]:
            answer["title"] = f"Response {name.replace('_', ' ').title()}"
        good["content"] = {"application/json": {"schema": answer}}
    described["responses"] = {str(operation.status): good}
    if operation.parameters:
        described["responses"]["422"] = _INVALID
    return described
