"""Lists bodies that Python reads but that fail later (RFC 8259 and RFC 7493 refuse them)."""

NASTY: dict[str, bytes] = {
    "half a surrogate pair": b'{"id": "\\ud800", "method": "getMe", "name": "\\ud800"}',
    "half a pair as a key": b'{"\\udfff": 1}',
    "half a pair deep inside": b'{"a": [{"b": ["\\uDBFF"]}]}',
    "NaN": b'{"id": NaN, "method": "getMe", "ttl_s": NaN}',
    "Infinity": b'{"id": -Infinity, "ttl_s": Infinity, "uses": Infinity}',
    "a number beyond floats": b'{"id": 1e999, "ttl_s": 1e999}',
    "a huge integer": b'{"id": 1' + b"0" * 400 + b', "ttl_s": 1' + b"0" * 400 + b"}",
    "an integer that Python refuses": b'{"id": ' + b"9" * 5000 + b"}",
    "deep lists": b"[" * 900 + b"]" * 900,
    "deeper lists": b"[" * 30_000 + b"]" * 30_000,
    "deep objects": b'{"id":' * 400 + b"1" + b"}" * 400,
    "not UTF-8": b'{"id": "\xff"}',
    "half a text": b'{"id": "',
}

# fields of all the forms there are
FIELDS = ("grant_type", "assertion", "id_token", "edge_id_token", "scope", "username", "password")


def form(charset: str) -> tuple[str, bytes]:
    """Return content type and body of a form whose texts are what a charset makes of escapes."""
    parts = [
        f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n\\ud800\r\n'
        for name in FIELDS
    ]
    image = '--b\r\ncontent-disposition: form-data; name="image"; filename="\\ud800"\r\n\r\nx\r\n'
    body = "".join([*parts, image, "--b--\r\n"])
    return f"multipart/form-data; boundary=b; charset={charset}", body.encode()


FORMS = {
    charset: form(charset)
    for charset in ("unicode_escape", "raw_unicode_escape", "undefined", "utf-16", "idna", "hex")
}
FORMS["urlencoded"] = (
    "application/x-www-form-urlencoded",
    b"&".join(name.encode() + b"=%ED%A0%80%00" for name in FIELDS),
)


def operations(openapi: dict[str, object]) -> list[tuple[str, str]]:
    """Return method and path of everything that takes a body, with paths filled in."""
    found = []
    paths = openapi["paths"]
    assert isinstance(paths, dict)
    for path, methods in paths.items():
        filled = path.replace("{node_id}", "a" * 56).replace("{path}", "x")
        found += [(m.upper(), filled) for m in methods if m in ("post", "put", "patch")]
    assert found
    return found
