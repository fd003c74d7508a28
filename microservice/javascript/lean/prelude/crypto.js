// Defines crypto: random numbers, and of crypto.subtle the hashes and HMAC (W3C Web Cryptography).
"use strict";
(function (root) {
  const { ask, randomBase64 } = root.__hecate;
  const secrets = new WeakMap(); // the bytes of a key; no property shows them

  function bytesOf(data) {
    if (data instanceof ArrayBuffer) return new Uint8Array(data);
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    throw new TypeError("crypto.subtle needs an ArrayBuffer or a typed array, such as new TextEncoder().encode(text)");
  }

  function hashName(algorithm) {
    const hash = algorithm?.hash ?? algorithm;
    return String(hash?.name ?? hash).toUpperCase();
  }

  // Returns the hash of data, or its HMAC if there is a key.
  function digest(hash, data, key) {
    const frame = { op: "crypto.digest", hash, base64: bytesOf(data).toBase64() };
    if (key !== undefined) frame.key = key.toBase64();
    return Uint8Array.fromBase64(ask(frame).base64).buffer;
  }

  function secretOf(key, use) {
    if (!secrets.has(key)) throw new TypeError(`crypto.subtle.${use} needs a key of importKey`);
    if (!key.usages.includes(use)) throw new Error(`cannot ${use}: the usages of the key do not have it`);
    return secrets.get(key);
  }

  function checkHmac(algorithm, what) {
    if (String(algorithm?.name ?? algorithm).toUpperCase() !== "HMAC") throw new Error(`cannot ${what}: only HMAC is supported`);
  }

  const subtle = {
    async digest(algorithm, data) {
      return digest(hashName(algorithm), data);
    },
    async importKey(format, data, algorithm, extractable, usages) {
      checkHmac(algorithm, "import key");
      if (format !== "raw") throw new Error(`cannot import key: only the format "raw" is supported`);
      const hash = hashName(algorithm);
      const key = Object.freeze({ type: "secret", extractable: false, algorithm: { name: "HMAC", hash: { name: hash } }, usages: [...usages] });
      secrets.set(key, bytesOf(data).slice());
      return key;
    },
    async sign(algorithm, key, data) {
      checkHmac(algorithm, "sign");
      return digest(key.algorithm.hash.name, data, secretOf(key, "sign"));
    },
    async verify(algorithm, key, signature, data) {
      checkHmac(algorithm, "verify");
      const right = new Uint8Array(digest(key.algorithm.hash.name, data, secretOf(key, "verify")));
      const given = bytesOf(signature);
      let difference = given.length ^ right.length;
      for (let i = 0; i < right.length; i++) difference |= right[i] ^ given[i]; // takes the same time for all
      return difference === 0;
    },
  };

  root.crypto = {
    subtle,
    getRandomValues(array) {
      if (!ArrayBuffer.isView(array)) throw new TypeError("getRandomValues needs a typed array");
      const bytes = bytesOf(array);
      if (bytes.length > 65536) throw new Error("getRandomValues gives at most 65536 bytes");
      bytes.set(Uint8Array.fromBase64(randomBase64(bytes.length)));
      return array;
    },
    randomUUID() {
      const bytes = root.crypto.getRandomValues(new Uint8Array(16));
      bytes[6] = (bytes[6] & 0x0f) | 0x40;
      bytes[8] = (bytes[8] & 0x3f) | 0x80;
      return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
    },
  };
})(globalThis);
