// Defines the context of a handler: HTTP, storage, MQTT, WebSocket events, the edge.
"use strict";
(function (root) {
  const shared = root.__hecate;
  const { ask, emit, parse, pieces, startCall, stringify, toBody } = shared;
  let env = {}, info = {};
  root.__settings = function (text) {
    ({ env, info } = parse(text));
  };

  const isFunction = (value) => typeof value === "function";

  // HTTP -----------------------------------------------------------------------------------------

  function request(options) {
    const given = options ?? {};
    if (!isFunction(given.success) && !isFunction(given.error)) {
      return new Promise((success, error) => {
        send({ ...given, success, error: (fault) => error(Object.assign(new Error(fault.message), fault)) });
      });
    }
    send(given);
  }

  function send(given) {
    const isStream = given.mode === "stream" || given.mode === "proxy";
    let head = {}, data = "";
    const id = startCall(`http.request ${given.url}`, (event) => {
      if (event.error !== undefined) given.error?.({ message: event.error, status: event.status ?? 0, content: "", headers: {} });
      else if (event.head) head = event.head;
      else if (event.text !== undefined) {
        if (isStream && isGood(head.status)) given.success?.({ data: event.text, ...head, done: false });
        else data += event.text;
      } else if (event.end) {
        const result = { data, status: head.status, headers: head.headers };
        if (!isGood(head.status)) given.error?.({ message: `HTTP status ${head.status}`, status: head.status, content: data, headers: head.headers });
        else given.success?.(isStream ? { ...result, done: true } : result);
      }
    });
    const body = toBody(given.data);
    if (body !== undefined) pieces(body, (piece) => emit({ op: "http.data", id, ...piece }));
    emit({
      op: "http", id, url: String(given.url ?? ""), method: String(given.type ?? given.method ?? given.httpMethod ?? "GET"),
      headers: Object.entries(given.headers ?? {}).filter(([, value]) => value !== undefined && value !== null).map(([name, value]) => [name, String(value)]),
      authorization: given.authorization === undefined || given.authorization === null ? "" : String(given.authorization),
      hasData: body !== undefined, isStream,
      connectMs: Number(given.connectionTimeout) || 0, socketMs: Number(given.socketTimeout) || 0,
      outputFile: given.outputFile === undefined || given.outputFile === null ? "" : String(given.outputFile),
    });
  }

  const isGood = (status) => status >= 200 && status < 300;

  // Storage --------------------------------------------------------------------------------------

  function each(tag, action) {
    for (let after = null; ; ) {
      const { items, last } = ask({ op: "storage.page", tag, after });
      for (const [key, value] of items) action(key, value);
      if (last === null) return;
      after = last;
    }
  }

  function pathOf(json, path) {
    let value = json;
    for (const level of String(path).replace(/^\$\.?/, "").split(/[.[\]]+/).filter(Boolean)) value = value?.[level];
    return value;
  }

  const COMPARE = {
    "=": (x, y) => x === y, "==": (x, y) => x === y, "!=": (x, y) => x !== y, "<>": (x, y) => x !== y,
    "<": (x, y) => x < y, "<=": (x, y) => x <= y, ">": (x, y) => x > y, ">=": (x, y) => x >= y,
  };

  function jsonItems(offset, limit, action, options) {
    const { tag, orderBy = [], filters = [] } = options ?? {};
    let found = [];
    each(tag === undefined ? null : textOf(tag), (key, text) => {
      let value;
      try { value = parse(text); } catch (error) { return; }
      const fits = filters.every((one) => {
        const compare = COMPARE[one.comparisonOperator ?? "="];
        if (!compare) throw new Error(`cannot compare by ${one.comparisonOperator}`);
        return compare(pathOf(value, one.jsonPath), one.value);
      });
      if (fits) found.push(value);
    });
    found.sort((x, y) => {
      for (const { jsonPath, order = 1 } of orderBy) {
        const [one, two] = [pathOf(x, jsonPath), pathOf(y, jsonPath)];
        if (one !== two) return (one < two ? -1 : 1) * (order < 0 ? -1 : 1);
      }
      return 0;
    });
    action(found.slice(offset, offset + limit), found.length);
  }

  function saveFile(name, base64) {
    let text = String(base64).replace(/^data:[^,]*,|\s+/g, "");
    text += "=".repeat(-text.length & 3); // encoders may leave the padding out
    let at = 0;
    do {
      ask({ op: "storage.write", name: String(name), base64: text.slice(at, at + 65536), isFirst: at === 0, isLast: at + 65536 >= text.length });
      at += 65536;
    } while (at < text.length);
  }

  function lockExecute(...given) {
    const action = given.find(isFunction);
    const name = typeof given[0] === "string" ? given[0] : "";
    ask({ op: "lock", name });
    try {
      return action();
    } finally {
      emit({ op: "unlock", name });
    }
  }

  // A script may cut a text inside a surrogate pair; the store keeps UTF-8.
  const textOf = (value) => String(value).toWellFormed();

  const makeStorage = () => ({
    getItem: (key) => ask({ op: "storage.get", key: textOf(key) }).value,
    setItem: (key, value) => void ask({ op: "storage.set", key: textOf(key), value: textOf(value), tag: null }),
    setItemWithTag: (key, value, tag) => void ask({ op: "storage.set", key: textOf(key), value: textOf(value), tag: textOf(tag) }),
    removeItem: (key) => void ask({ op: "storage.remove", key: textOf(key) }),
    removeItemsByTag: (tag) => void ask({ op: "storage.removeTag", tag: textOf(tag) }),
    eachItem: (action) => each(null, action),
    eachItemByTag: (tag, action) => each(textOf(tag), action),
    saveFile,
    deleteFile: (name) => void ask({ op: "storage.delete", name: String(name) }),
    getJsonItemsPaginated: jsonItems,
    lockExecute,
  });

  // Events, MQTT, edge ---------------------------------------------------------------------------

  function dispatchWebSocketEvent(event) {
    const text = (value) => (value === undefined || value === null ? "" : typeof value === "string" ? value : stringify(value));
    emit({ op: "event", type: text(event?.type), message: text(event?.message) });
  }

  // Calls the front; by callbacks, or by a promise when there are none.
  function call(name, frame, success, error) {
    if (!isFunction(success) && !isFunction(error)) {
      return new Promise((resolve, reject) => call(name, frame, resolve, (fault) => reject(new Error(fault.message))));
    }
    const id = startCall(name, (event) => {
      if (event.error !== undefined) error?.({ message: event.error });
      else success?.(event.value ?? undefined);
    });
    emit({ ...frame, id });
  }

  function publish(topic, payload, options, callback) {
    if (isFunction(options)) [options, callback] = [undefined, options];
    const { qos = 1, retain = false, encoding } = options ?? {};
    const body = toBody(payload) ?? "";
    const content = typeof body !== "string" ? { base64: body.toBase64() } : encoding === "base64" ? { base64: body } : { text: body };
    const frame = { op: "publish", topic: String(topic), ...content, qos: Number(qos), retain: Boolean(retain) };
    const done = isFunction(callback) ? [() => callback(null), (fault) => callback(new Error(fault.message))] : [];
    return call(`mqtt.publish ${topic}`, frame, ...done);
  }

  // A context that is logged or answered shows no secret: their properties cannot be enumerated.
  const hide = (values) =>
    Object.defineProperties({}, Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value }])));

  shared.makeContext = ({ settings = {}, secrets = {} }) => ({
    settings,
    secrets: hide(secrets),
    env: { ...env },
    info: { ...info },
    http: { request },
    storage: makeStorage(),
    dispatchWebSocketEvent,
    mqtt: { publish },
    edge: {
      decryptEncryptedNodesJson: (given) =>
        call("edge.decryptEncryptedNodesJson", { op: "edge.nodes", type: String(given?.type), data: String(given?.data) }, given?.success, given?.error),
      requestBep: (given) =>
        call("edge.requestBep", { op: "edge.bep", code: String(given?.code ?? "") }, given?.success, given?.error),
    },
  });
})(globalThis);
