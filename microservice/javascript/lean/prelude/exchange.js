// Defines request and response, and calls the handler of index.js.
"use strict";
(function (root) {
  const { ask, emit, ended, fail, log, parse, pieces, readable, toBody } = root.__hecate;
  const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
  const BODILESS = [204, 304]; // RFC 9110, 15.3.5 and 15.4.5
  const ONE_FRAME = 65536; // characters or bytes of a body that goes with its head
  // The last handlers of routers for Node.js expect a stream, of which nothing is left to read.
  const hidden = (value) => ({ value, writable: true, configurable: true, enumerable: false });
  const STREAM = { complete: hidden(true), unpipe: hidden(() => {}), resume: hidden(() => {}), listeners: hidden(() => []) };
  const BAD_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

  function makeRequest(given) {
    let isRead = false;
    const request = {
      url: given.url, method: given.method, headers: given.headers,
      authorization: given.headers.authorization, body: given.body,
    };
    // Walks the parts of a form; needs no this.
    request.handleFormRequest = function (options) {
      const handlers = options ?? {};
      if (isRead) throw new Error("cannot read the form: it has been read already");
      isRead = true;
      for (let part; (part = ask({ op: "form.next" })).key !== undefined; ) {
        const { key, filename } = part;
        const decision = (handlers.found ? handlers.found(key, filename) : undefined) ?? {};
        const action = decision.action ?? "skip";
        if (action === "skip") continue;
        if (action === "abort") {
          ask({ op: "form.abort" });
          return;
        }
        if (action === "store") {
          const { size } = ask({ op: "form.store", path: String(decision.path) });
          handlers.store?.(decision.path, size);
        } else {
          for (let piece = ask({ op: "form.piece" }), first = true; first || piece.text !== ""; piece = ask({ op: "form.piece" })) {
            first = false;
            handlers[action]?.(key, piece.text);
            if (piece.text === "") break;
          }
        }
      }
    };
    return Object.defineProperties(request, STREAM);
  }

  function makeResponse() {
    const headers = new Map(); // by name in lower case
    let isSent = false, isEnded = false;

    function head() {
      let status = Number(response.statusCode);
      if (!Number.isInteger(status) || status < 200 || status > 599) {
        log("error", [`cannot answer with status ${response.statusCode}: not 200 to 599`]);
        status = 500;
      }
      return { status, headers: [...headers.values()].flatMap(([name, value]) => (Array.isArray(value) ? value.map((one) => [name, one]) : [[name, value]])) };
    }

    function setDefaultType() {
      const isBodiless = BODILESS.includes(Number(response.statusCode));
      if (!isBodiless && !headers.has("content-type")) headers.set("content-type", ["content-type", "application/json"]);
    }

    function start() {
      if (isSent) return;
      isSent = true;
      setDefaultType();
      emit({ op: "head", ...head() });
    }

    // Calls what bundles for Node.js give as the last argument.
    function callBack(given) {
      const action = given[given.length - 1];
      if (typeof action === "function") queueMicrotask(() => action());
    }

    const response = {
      statusCode: 200,
      setHeader(name, value) {
        const values = (Array.isArray(value) ? value : [value]).map(String);
        if (isSent || !NAME.test(name) || values.some((one) => BAD_VALUE.test(one))) {
          if (!isSent) log("warning", [`cannot set header ${name}: it or its value has other characters than HTTP allows`]);
          return false;
        }
        headers.set(String(name).toLowerCase(), [String(name), Array.isArray(value) ? values : values[0]]);
        return true;
      },
      getHeader: (name) => headers.get(String(name).toLowerCase())?.[1],
      getHeaders: () => Object.fromEntries([...headers].map(([name, pair]) => [name, pair[1]])),
      hasHeader: (name) => headers.has(String(name).toLowerCase()),
      removeHeader: (name) => void (isSent || headers.delete(String(name).toLowerCase())),
      write(chunk, ...more) {
        if (isEnded) return false;
        const body = toBody(chunk);
        start();
        if (body?.length) pieces(body, (piece) => emit({ op: "body", ...piece }));
        callBack(more);
        return true;
      },
      end(...given) {
        if (isEnded) return false;
        const body = (typeof given[0] === "function" ? undefined : toBody(given[0])) ?? "";
        if (!isSent && body.length <= ONE_FRAME) {
          setDefaultType();
          isSent = isEnded = true;
          emit({ op: "answer", ...head(), ...(typeof body === "string" ? { text: body } : { base64: body.toBase64() }) });
        } else {
          if (body.length) response.write(body);
          isEnded = true;
          emit({ op: "end" });
        }
        callBack(given);
        ended();
        return true;
      },
      writeMimeFile(path, type) {
        if (isEnded || isSent) return false;
        if (type !== undefined) response.setHeader("content-type", type);
        ask({ op: "file", path: String(path), ...head() });
        isSent = isEnded = true;
        ended();
        return true;
      },
    };
    Object.defineProperty(response, "headersSent", { get: () => isSent, configurable: true, enumerable: true });
    Object.defineProperty(response, "writableEnded", { get: () => isEnded, configurable: true, enumerable: true });
    Object.defineProperty(response, "finished", { get: () => isEnded, configurable: true, enumerable: true });
    return response;
  }

  const makeContext = root.__hecate.makeContext;

  root.__start = function (text) {
    const handler = root.mimikModule?.exports;
    const entry = typeof handler === "function" ? handler : handler?.default;
    const response = makeResponse();
    try {
      const given = parse(text);
      const result = entry(makeContext(given), makeRequest(given), response);
      if (typeof result?.then === "function") result.then(undefined, fail);
    } catch (error) {
      throw readable(error);
    }
  };

  // Returns why index.js cannot be used; "" when it can.
  root.__check = function () {
    const handler = root.mimikModule?.exports;
    if (typeof handler === "function" || typeof handler?.default === "function") return "";
    return `mimikModule.exports is ${handler === null ? "null" : typeof handler}, not a function`;
  };

  delete root.__hecate;
})(globalThis);
