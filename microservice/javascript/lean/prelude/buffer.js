// Defines Buffer, which Duktape and Node.js have: bytes with texts and numbers in them.
"use strict";
(function (root) {
  const NAMES = {
    utf8: "utf8", "utf-8": "utf8", hex: "hex", base64: "base64", base64url: "base64url", latin1: "latin1",
    binary: "latin1", ascii: "ascii", utf16le: "utf16le", "utf-16le": "utf16le", ucs2: "utf16le", "ucs-2": "utf16le",
  };
  const wrap = (bytes) => Object.setPrototypeOf(bytes, Buffer.prototype);

  function encodingOf(name) {
    const found = NAMES[String(name ?? "utf8").toLowerCase()];
    if (found === undefined) throw new TypeError(`Unknown encoding: ${name}`);
    return found;
  }

  const fromUnits = (text, mask) => Uint8Array.from(text, (character) => character.charCodeAt(0) & mask);

  function encode(text, name) {
    const encoding = encodingOf(name);
    if (encoding === "utf8") return new TextEncoder().encode(text);
    if (encoding === "hex") return Uint8Array.fromHex(/^(?:[0-9a-f]{2})*/i.exec(text)[0]);
    if (encoding === "utf16le") return new Uint8Array(Uint16Array.from({ length: text.length }, (_, i) => text.charCodeAt(i)).buffer);
    if (encoding === "latin1" || encoding === "ascii") return fromUnits(text.split(""), 0xff);
    const plain = text.replace(/-/g, "+").replace(/_/g, "/").replace(/=[^]*$|[^A-Za-z0-9+/]/g, "");
    return Uint8Array.fromBase64(plain.length % 4 === 1 ? plain.slice(0, -1) : plain);
  }

  function decode(bytes, name) {
    const encoding = encodingOf(name);
    if (encoding === "utf8") return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    if (encoding === "hex") return bytes.toHex();
    if (encoding === "base64") return bytes.toBase64();
    if (encoding === "base64url") return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
    const mask = encoding === "ascii" ? 0x7f : 0xff, step = encoding === "utf16le" ? 2 : 1;
    let text = "";
    for (let at = 0; at + step <= bytes.length; at += step) {
      text += String.fromCharCode(step === 2 ? bytes[at] | (bytes[at + 1] << 8) : bytes[at] & mask);
    }
    return text;
  }

  function Buffer(value, second, third) { // with new, and without it
    return typeof value === "number" ? Buffer.alloc(value) : Buffer.from(value, second, third);
  }
  Object.setPrototypeOf(Buffer, Uint8Array);

  const asBytes = (value, encoding) => (typeof value === "string" ? encode(value, encoding) : value);

  Object.assign(Buffer, {
    poolSize: 8192,
    from(value, second, third) {
      if (typeof value === "string") return wrap(encode(value, second));
      if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) return wrap(new Uint8Array(value, second, third));
      if (value?.type === "Buffer" && Array.isArray(value.data)) return wrap(Uint8Array.from(value.data));
      if (value === null || typeof value !== "object") throw new TypeError("Buffer.from() needs a string, an array or bytes");
      return wrap(Uint8Array.from(value));
    },
    alloc(size, fill, encoding) {
      const made = wrap(new Uint8Array(size));
      return fill === undefined ? made : made.fill(fill, encoding);
    },
    allocUnsafe: (size) => wrap(new Uint8Array(size)),
    allocUnsafeSlow: (size) => wrap(new Uint8Array(size)),
    isBuffer: (value) => value instanceof Buffer,
    isEncoding: (name) => String(name).toLowerCase() in NAMES,
    byteLength: (value, encoding) => (typeof value === "string" ? encode(value, encoding).length : value.byteLength),
    concat(list, size = list.reduce((sum, one) => sum + one.length, 0)) {
      const made = Buffer.alloc(size);
      let at = 0;
      for (const one of list) {
        made.set(one.subarray(0, Math.max(0, size - at)), at);
        at = Math.min(size, at + one.length);
      }
      return made;
    },
    compare(one, two) {
      for (let i = 0; i < Math.min(one.length, two.length); i++) {
        if (one[i] !== two[i]) return one[i] < two[i] ? -1 : 1;
      }
      return Math.sign(one.length - two.length);
    },
  });

  const proto = (Buffer.prototype = Object.create(Uint8Array.prototype, { constructor: { value: Buffer, writable: true, configurable: true } }));
  const plain = Uint8Array.prototype;
  const methods = {
    toString(encoding, start = 0, end = this.length) { return decode(plain.slice.call(new Uint8Array(this.buffer, this.byteOffset, this.length), start, end), encoding); },
    toJSON() { return { type: "Buffer", data: [...this] }; },
    equals(other) { return Buffer.compare(this, other) === 0; },
    compare(other) { return Buffer.compare(this, other); },
    slice(start, end) { return this.subarray(start, end); },
    write(text, offset = 0, length, encoding) {
      if (typeof offset === "string") [offset, encoding] = [0, offset];
      else if (typeof length === "string") [length, encoding] = [undefined, length];
      const bytes = encode(text, encoding).subarray(0, Math.min(length ?? Infinity, this.length - offset));
      this.set(bytes, offset);
      return bytes.length;
    },
    copy(target, at = 0, start = 0, end = this.length) {
      const bytes = this.subarray(start, Math.min(end, start + target.length - at));
      target.set(bytes, at);
      return bytes.length;
    },
    fill(value, start = 0, end = this.length, encoding) {
      if (typeof start === "string") [start, encoding] = [0, start];
      const bytes = typeof value === "number" ? [value & 0xff] : asBytes(value, encoding);
      for (let at = start, i = 0; at < end; at++, i++) this[at] = bytes.length ? bytes[i % bytes.length] : 0;
      return this;
    },
    indexOf(value, from = 0, encoding) {
      if (typeof value === "number") return plain.indexOf.call(this, value & 0xff, from);
      const bytes = asBytes(value, encoding);
      for (let at = from; at + bytes.length <= this.length; at++) {
        if (bytes.every((one, i) => this[at + i] === one)) return at;
      }
      return -1;
    },
    includes(value, from, encoding) { return this.indexOf(value, from, encoding) >= 0; },
  };
  const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const KINDS = { UInt8: "Uint8", Int8: "Int8", UInt16: "Uint16", Int16: "Int16", UInt32: "Uint32", Int32: "Int32", Float: "Float32", Double: "Float64" };
  for (const [name, kind] of Object.entries(KINDS)) {
    const size = { Uint8: 1, Int8: 1, Uint16: 2, Int16: 2, Float64: 8 }[kind] ?? 4;
    for (const order of size === 1 ? [""] : ["LE", "BE"]) {
      methods[`read${name}${order}`] = function (at = 0) { return view(this)[`get${kind}`](at, order === "LE"); };
      methods[`write${name}${order}`] = function (value, at = 0) { view(this)[`set${kind}`](at, value, order === "LE"); return at + size; };
    }
  }
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(proto, name, { value, writable: true, configurable: true });
    if (/UInt/.test(name)) Object.defineProperty(proto, name.replace("UInt", "Uint"), { value, writable: true, configurable: true });
  }
  Object.defineProperty(root, "Buffer", { value: Buffer, writable: true, configurable: true, enumerable: false });
})(globalThis);
