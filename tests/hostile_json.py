"""JSON texts that Python reads, and that fail further inside (RFC 8259 and RFC 7493 refuse them)."""

NASTY: dict[str, bytes] = {
    "half a surrogate pair": b'{"id": "\\ud800", "method": "getMe"}',
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
