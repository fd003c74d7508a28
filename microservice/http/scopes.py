"""Reads the scopes of ASGI."""

from urllib.parse import parse_qsl, unquote

from microservice.web import Scope


def levels_of(scope: Scope) -> list[str]:
    """Return the levels of the path, decoded one by one: %2F is no slash between levels."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return [unquote(level) for level in raw.decode("latin-1").split("/")]


def query_of(scope: Scope) -> dict[str, str]:
    """Return the parameters of the query; the last of several values."""
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers, names in lower case."""
    return {n.decode("latin-1"): v.decode("latin-1") for n, v in scope["headers"]}
