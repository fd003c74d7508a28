"""Buffer, which the engine of older runtimes has and bundles do not bring themselves."""

from pathlib import Path

import pytest

from tests.integration.microservice.javascript.test_globals import evaluate


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Buffer.from('hé').toString('base64')", "aMOp"),
        ("Buffer('hé').toString('hex') + new Buffer('00ff', 'hex').length", "68c3a92"),
        ("Buffer.from('aMOp', 'base64').toString()", "hé"),
        ("Buffer.from('aMO-_w==', 'base64').toString('base64url')", "aMO-_w"),
        ("Buffer.from('61zz', 'hex').toString('latin1')", "a"),
        ("Buffer.from('a\\u00ff', 'binary').toString('hex')", "61ff"),
        ("Buffer.from('a😀', 'utf16le').toString('ucs2')", "a😀"),
        ("Buffer.concat([Buffer.from('ab'), Buffer.from('cd')], 3) + ''", "abc"),
        ("Buffer.byteLength('é') + Buffer.byteLength(Buffer.alloc(4))", 6),
        ("Buffer.isBuffer(Buffer.from([1])) && !Buffer.isBuffer(new Uint8Array(1))", True),
        ("Buffer.from([1, 2]) instanceof Uint8Array", True),
        ("Buffer.from(Buffer.from('abcdef').slice(1, 3)).toString('utf8', 1)", "c"),
        ("Buffer.from('abc').subarray(1).toString()", "bc"),
        ("Buffer.from('abc').map((one) => one + 1).toString()", "bcd"),
        ("Buffer.alloc(5, 'ab').toString()", "ababa"),
        ("Buffer.alloc(3).fill(258).readUInt8(2)", 2),
        ("(b => b.writeUInt16BE(258, 1) + b.toString('hex'))(Buffer.alloc(4))", "300010200"),
        ("Buffer.from('0102fffe', 'hex').readInt16BE(2)", -2),
        ("Buffer.from('0000803f', 'hex').readFloatLE()", 1),
        ("(b => [b.write('héy', 1), b.toString('hex')])(Buffer.alloc(4))", [3, "0068c3a9"]),
        ("(b => [Buffer.from('xyz').copy(b, 1), b + ''])(Buffer.from('....'))", [3, ".xyz"]),
        ("Buffer.from('abcabc').indexOf('ca') + Buffer.from('abc').indexOf(99)", 4),
        ("Buffer.from('abc').equals(new Uint8Array([97, 98, 99]))", True),
        ("Buffer.compare(Buffer.from('ab'), Buffer.from('b'))", -1),
        ("Buffer.from(JSON.parse(JSON.stringify(Buffer.from('é')))).toString()", "é"),
        ("(() => { try { Buffer.from(5); } catch (e) { return e.name; } })()", "TypeError"),
        ("(() => { try { Buffer.from('a', 'x'); } catch (e) { return e.message; } })()",
         "Unknown encoding: x"),
    ],
)  # fmt: skip
def test_buffers(expression: str, expected: object, tmp_path: Path) -> None:
    assert evaluate(tmp_path, expression) == expected
