// Defines globals that bundles for browsers, Duktape or Node.js expect.
"use strict";
(function (root) {
  root.global = root.self = root;
  root.mimikModule = {};

  // Every child is a copy of one process: without a seed of its own it would repeat their numbers.
  let a = 0x9e3779b9, b = 0x243f6a88, c = 0xb7e15162, d = 0xdeadbeef;
  function random32() { // sfc32
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t | 0;
    return t >>> 0;
  }
  Math.random = function random() {
    return (random32() * 2097152 + (random32() >>> 11)) / 9007199254740992;
  };
  root.__seed = function (words) {
    [a, b, c, d] = words.split(" ").map(Number);
    for (let i = 0; i < 12; i++) random32();
  };

  const encodeUtf8 = (text) => {
    text = String(text).toWellFormed();
    const bytes = new Uint8Array(text.length * 3);
    return bytes.subarray(0, writeUtf8(text, bytes).written);
  };

  function writeUtf8(text, bytes) {
    let at = 0, read = 0;
    for (const character of text) {
      const code = character.codePointAt(0);
      const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
      if (at + size > bytes.length) break;
      if (size === 1) bytes[at] = code;
      else {
        for (let i = size - 1, rest = code; i > 0; i--, rest >>= 6) bytes[at + i] = 0x80 | (rest & 0x3f);
        bytes[at] = size === 2 ? 0xc0 | (code >> 6) : size === 3 ? 0xe0 | (code >> 12) : 0xf0 | (code >> 18);
      }
      at += size;
      read += character.length;
    }
    return { read, written: at };
  }

  function bytesOf(data) {
    if (data === undefined) return new Uint8Array(0);
    if (data instanceof ArrayBuffer) return new Uint8Array(data);
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }

  root.TextEncoder = class TextEncoder {
    get encoding() { return "utf-8"; }
    encode(text = "") { return new Uint8Array(encodeUtf8(text)); }
    encodeInto(text, bytes) { return writeUtf8(String(text).toWellFormed(), bytes); }
  };

  const LABELS = {
    "utf-8": "utf-8", utf8: "utf-8", "unicode-1-1-utf-8": "utf-8", "utf-16le": "utf-16le", "utf-16": "utf-16le",
    latin1: "windows-1252", "iso-8859-1": "windows-1252", ascii: "windows-1252", "us-ascii": "windows-1252",
    "windows-1252": "windows-1252",
  };

  // Returns code points and the bytes that are left of an incomplete one.
  function decodeUtf8(bytes, isLast, fatal) {
    let text = "", run = [];
    let at = 0;
    const add = (code) => {
      run.push(code);
      if (run.length === 4096) { text += String.fromCodePoint(...run); run = []; }
    };
    while (at < bytes.length) {
      const first = bytes[at];
      if (first < 0x80) { add(first); at++; continue; }
      const size = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
      let code = size ? first & (0xff >> (size + 1)) : 0, used = 1;
      while (size && used < size && at + used < bytes.length) {
        const next = bytes[at + used];
        const low = used > 1 ? 0x80 : first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
        const high = used > 1 ? 0xbf : first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
        if (next < low || next > high) break;
        code = (code << 6) | (next & 0x3f);
        used++;
      }
      if (size && used === size) add(code);
      else if (size && at + used === bytes.length && !isLast) break;
      else if (fatal) throw new TypeError("the bytes are not UTF-8");
      else add(0xfffd);
      at += used;
    }
    return [text + String.fromCodePoint(...run), bytes.slice(at)];
  }

  root.TextDecoder = class TextDecoder {
    #left = new Uint8Array(0);
    #begun = false;
    constructor(label = "utf-8", options = {}) {
      this.encoding = LABELS[String(label).trim().toLowerCase()];
      if (this.encoding === undefined) throw new RangeError(`cannot decode ${label}: only UTF-8, UTF-16LE and Latin-1`);
      this.fatal = Boolean(options.fatal);
      this.ignoreBOM = Boolean(options.ignoreBOM);
    }
    decode(data, options = {}) {
      let bytes = bytesOf(data);
      if (this.#left.length) {
        const joined = new Uint8Array(this.#left.length + bytes.length);
        joined.set(this.#left);
        joined.set(bytes, this.#left.length);
        bytes = joined;
      }
      const isLast = !options.stream;
      let text = "";
      let left = new Uint8Array(0);
      if (this.encoding === "utf-8") [text, left] = decodeUtf8(bytes, isLast, this.fatal);
      else {
        const step = this.encoding === "utf-16le" ? 2 : 1;
        const whole = bytes.length - (bytes.length % step);
        for (let at = 0; at < whole; at += step) {
          text += String.fromCharCode(step === 2 ? bytes[at] | (bytes[at + 1] << 8) : bytes[at]);
        }
        left = bytes.slice(whole);
        if (isLast && left.length) text += "\ufffd";
      }
      if (!this.#begun && !this.ignoreBOM && text.charCodeAt(0) === 0xfeff) text = text.slice(1);
      this.#begun = !isLast && (this.#begun || text.length > 0);
      this.#left = isLast ? new Uint8Array(0) : left;
      return text;
    }
  };

  // The engine of older runtimes; its version decides which workarounds a bundle uses.
  root.Duktape = {
    version: 20300,
    env: "ll u n p2 a8 x64 linux hecate",
    enc(format, value) {
      const isBytes = value instanceof ArrayBuffer || ArrayBuffer.isView(value);
      const bytes = isBytes ? bytesOf(value) : encodeUtf8(value);
      if (format === "base64") return bytes.toBase64();
      if (format === "hex") return bytes.toHex();
      if (format === "jx" || format === "jc") return JSON.stringify(value);
      throw new TypeError(`cannot encode ${format}: only base64, hex, jx, jc`);
    },
    dec(format, text) {
      if (format === "jx" || format === "jc") return JSON.parse(text);
      let bytes;
      if (format === "base64") bytes = Uint8Array.fromBase64(String(text));
      else if (format === "hex") bytes = Uint8Array.fromHex(String(text));
      else throw new TypeError(`cannot decode ${format}: only base64, hex, jx, jc`);
      // a buffer that reads as its bytes when it is used as a text
      Object.defineProperty(bytes, "toString", { value: () => decodeUtf8(bytes, true, false)[0] });
      return bytes;
    },
    gc() { return true; },
    act() { return undefined; },
    compact(value) { return value; },
    fin() { return undefined; },
    info() { return {}; },
    errCreate: undefined,
    errThrow: undefined,
  };
})(globalThis);
