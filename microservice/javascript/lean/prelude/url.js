// Defines URL and URLSearchParams (WHATWG URL), without international host names.
"use strict";
(function (root) {
  const PORTS = { "http:": "80", "https:": "443", "ws:": "80", "wss:": "443", "ftp:": "21", "file:": "" };
  const escape = (text, plain) =>
    encodeURIComponent(String(text).toWellFormed()).replace(/%([0-9A-F]{2})|[!'()*~]/g, (found, hex) => {
      const character = hex ? String.fromCharCode(parseInt(hex, 16)) : found;
      if (character.charCodeAt(0) < 0x80 && plain.includes(character)) return character;
      return hex ? found : "%" + found.charCodeAt(0).toString(16).toUpperCase();
    });
  const PATH = "!$%&'()*+,;=:@/~[]|^\\";
  const QUERY = "!$%&()*+,;=:@/?~[]{}|^\\`";
  const HASH = "!$%&'()*+,;=:@/?~[]{}|^\\#";
  const unescape = (text) => {
    const bytes = new TextEncoder().encode(text.replace(/\+/g, " "));
    const out = [];
    for (let at = 0; at < bytes.length; at++) {
      const hex = bytes[at] === 0x25 ? String.fromCharCode(bytes[at + 1] ?? 0, bytes[at + 2] ?? 0) : "";
      if (/^[0-9a-f]{2}$/i.test(hex)) { out.push(parseInt(hex, 16)); at += 2; }
      else out.push(bytes[at]);
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(new Uint8Array(out));
  };
  const formEscape = (text) => escape(text, "*").replace(/%20/g, "+");

  class URLSearchParams {
    #pairs = [];
    #changed = () => {};
    constructor(init = "", changed) {
      if (typeof changed === "function") this.#changed = changed;
      if (init instanceof URLSearchParams) this.#pairs = [...init];
      else if (init !== null && typeof init === "object") {
        const entries = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
        for (const [name, value] of entries) this.#pairs.push([String(name), String(value)]);
      } else this._read(String(init));
    }
    _read(text) {
      if (text.startsWith("?")) text = text.slice(1);
      this.#pairs = text.split("&").filter(Boolean).map((pair) => {
        const at = pair.indexOf("=");
        return at < 0 ? [unescape(pair), ""] : [unescape(pair.slice(0, at)), unescape(pair.slice(at + 1))];
      });
    }
    get size() { return this.#pairs.length; }
    append(name, value) { this.#pairs.push([String(name), String(value)]); this.#changed(); }
    delete(name) { this.#pairs = this.#pairs.filter((pair) => pair[0] !== String(name)); this.#changed(); }
    get(name) { return this.#pairs.find((pair) => pair[0] === String(name))?.[1] ?? null; }
    getAll(name) { return this.#pairs.filter((pair) => pair[0] === String(name)).map((pair) => pair[1]); }
    has(name) { return this.#pairs.some((pair) => pair[0] === String(name)); }
    set(name, value) {
      const at = this.#pairs.findIndex((pair) => pair[0] === String(name));
      if (at < 0) return this.append(name, value);
      this.#pairs = this.#pairs.filter((pair, i) => i <= at || pair[0] !== String(name));
      this.#pairs[at] = [String(name), String(value)];
      this.#changed();
    }
    sort() { this.#pairs.sort((x, y) => (x[0] < y[0] ? -1 : x[0] > y[0] ? 1 : 0)); this.#changed(); }
    forEach(action, self) { for (const [name, value] of this) action.call(self, value, name, this); }
    *entries() { yield* this.#pairs.map((pair) => [...pair]); }
    *keys() { for (const pair of this.#pairs) yield pair[0]; }
    *values() { for (const pair of this.#pairs) yield pair[1]; }
    [Symbol.iterator]() { return this.entries(); }
    toString() { return this.#pairs.map(([name, value]) => `${formEscape(name)}=${formEscape(value)}`).join("&"); }
  }

  const PARTS = /^([a-z][a-z0-9+.-]*:)?(?:\/\/([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?$/is;

  function readHost(parts, authority, given) {
    const found = /^(?:([^@]*)@)?(\[[0-9a-f:.]+\]|[^:[\]]*)(?::([0-9]*))?$/i.exec(authority);
    if (!found || (!found[2] && parts.protocol !== "file:") || /[\s<>^|%\\]/.test(found[2])) throw invalid(given);
    if (found[3] && Number(found[3]) > 65535) throw invalid(given);
    const [user = "", password = ""] = (found[1] ?? "").split(/:(.*)/s);
    parts.username = escape(user, "!$%&'()*+,;=~");
    parts.password = escape(password, "!$%&'()*+,;=~");
    parts.hostname = found[2].toLowerCase();
    parts.port = found[3] && String(Number(found[3])) !== PORTS[parts.protocol] ? String(Number(found[3])) : "";
  }

  function normal(path) {
    const levels = [];
    const all = path.split("/");
    all.forEach((level, i) => {
      const dots = level.replace(/%2e/gi, ".");
      if (dots === "..") { if (levels.length > 1) levels.pop(); if (i === all.length - 1) levels.push(""); }
      else if (dots === ".") { if (i === all.length - 1) levels.push(""); }
      else levels.push(level);
    });
    return levels.join("/");
  }

  const invalid = (text) => Object.assign(new TypeError(`Invalid URL: ${text}`), { code: "ERR_INVALID_URL", input: text });

  function read(given, base) {
    let text = String(given).trim().replace(/[\t\n\r]/g, "");
    let found = PARTS.exec(text);
    const scheme = found?.[1]?.toLowerCase() ?? base?.protocol;
    if (scheme === undefined) throw invalid(given);
    if (scheme in PORTS && text.includes("\\")) {
      text = text.replace(/^[^?#]*/, (front) => front.replace(/\\/g, "/"));
      found = PARTS.exec(text);
    }
    let [, own, authority, path, query = "", hash = ""] = found;
    const parts = { protocol: scheme, username: "", password: "", hostname: "", port: "", pathname: "", search: "", hash: "" };
    const special = scheme in PORTS;
    if (own && special && authority === undefined && scheme !== "file:" && base?.protocol !== scheme) {
      [authority, path] = /^\/*([^/]*)(.*)$/s.exec(path).slice(1); // http:host is read as http://host
    }
    if (authority !== undefined) readHost(parts, authority, given);
    else if (base && (!own || base.protocol === scheme) && (special || !own)) {
      for (const name of ["username", "password", "hostname", "port"]) parts[name] = base[name];
      if (!path) { path = base.pathname; query = query || (found[4] === undefined ? base.search : ""); }
      else if (!path.startsWith("/")) path = base.pathname.replace(/[^/]*$/, "") + path;
    } else if (special && scheme !== "file:") throw invalid(given);
    if (special || path.startsWith("/")) path = normal(special && !path.startsWith("/") ? `/${path}` : path);
    parts.pathname = escape(path, PATH);
    parts.search = query.length > 1 ? `?${escape(query.slice(1), special ? QUERY : QUERY + "'")}` : "";
    parts.hash = hash.length > 1 ? `#${escape(hash.slice(1), HASH)}` : "";
    return parts;
  }

  class URL {
    #parts;
    #params;
    constructor(url, base) {
      this.#parts = read(url, base === undefined ? undefined : read(base));
      this.#params = new URLSearchParams(this.#parts.search, () => {
        const text = this.#params.toString();
        this.#parts.search = text ? `?${text}` : "";
      });
    }
    static canParse(url, base) { try { return Boolean(new URL(url, base)); } catch (error) { return false; } }
    static parse(url, base) { try { return new URL(url, base); } catch (error) { return null; } }
    get protocol() { return this.#parts.protocol; }
    set protocol(value) { if (/^[a-z][a-z0-9+.-]*:?$/i.test(value)) this.#parts.protocol = `${value.toLowerCase().replace(/:$/, "")}:`; }
    get username() { return this.#parts.username; }
    set username(value) { this.#parts.username = escape(value, "!$%&'()*+,;=~"); }
    get password() { return this.#parts.password; }
    set password(value) { this.#parts.password = escape(value, "!$%&'()*+,;=~"); }
    get hostname() { return this.#parts.hostname; }
    set hostname(value) { this.host = `${value}${this.port && `:${this.port}`}`; }
    get port() { return this.#parts.port; }
    set port(value) { this.host = `${this.hostname}${String(value) && `:${value}`}`; }
    get host() { return this.hostname + (this.port && `:${this.port}`); }
    set host(value) { try { const kept = { ...this.#parts }; readHost(kept, String(value), value); Object.assign(this.#parts, { hostname: kept.hostname, port: kept.port }); } catch (error) { /* as it was */ } }
    get origin() { return this.protocol in PORTS && this.protocol !== "file:" ? `${this.protocol}//${this.host}` : "null"; }
    get pathname() { return this.#parts.pathname; }
    set pathname(value) { this.#parts.pathname = escape(normal(String(value).startsWith("/") ? String(value) : `/${value}`), PATH); }
    get search() { return this.#parts.search; }
    set search(value) {
      const text = String(value).replace(/^\?/, "");
      this.#parts.search = text ? `?${escape(text, QUERY)}` : "";
      this.#params._read(text);
    }
    get searchParams() { return this.#params; }
    get hash() { return this.#parts.hash; }
    set hash(value) { const text = String(value).replace(/^#/, ""); this.#parts.hash = text ? `#${escape(text, HASH)}` : ""; }
    get href() {
      const { protocol, username, password, pathname, search, hash } = this.#parts;
      const login = username || password ? `${username}${password && `:${password}`}@` : "";
      const authority = this.hostname || protocol === "file:" ? `//${login}${this.host}` : "";
      return `${protocol}${authority}${pathname}${search}${hash}`;
    }
    set href(value) { this.#parts = read(value); this.#params._read(this.#parts.search); }
    toString() { return this.href; }
    toJSON() { return this.href; }
  }

  root.URL = URL;
  root.URLSearchParams = URLSearchParams;
})(globalThis);
