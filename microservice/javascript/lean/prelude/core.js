// Defines what the other files of the prelude share: calls of the host, timers, failures.
"use strict";
(function (root) {
  const host = root.__host;
  delete root.__host;
  const { parse, stringify } = JSON; // a bundle may replace them
  const now = performance.now.bind(performance);

  const TIMERS = 10000;
  const PENDING = 64; // calls of the host at once
  const LOG_LINES = 1000; // of one request
  const LOG_CHARACTERS = 256 * 1024;
  const LINE_CHARACTERS = 8 * 1024;
  const PIECE = 64 * 1024; // characters of one frame

  const calls = new Map(); // by id: what to do with an answer
  const timers = []; // sorted by the time they are due
  const early = []; // lines written before the host can be called
  const rejected = (root.__rejected = []); // promise, reason, promise, reason …
  let lastId = 0, lastTimer = 0, loading = true, lines = 0, characters = 0;
  let failed = false, failure, endedAt = 0;

  function hang() {
    for (;;); // the time is over: the engine ends this loop, and no script catches that
  }

  function emit(frame) {
    if (loading) throw new Error("cannot do this while index.js is being loaded");
    const refusal = host("!", stringify(frame));
    if (refusal === false) hang();
    if (refusal !== null) throw new Error(parse(refusal).error);
  }

  function ask(frame) {
    if (loading) throw new Error("cannot do this while index.js is being loaded");
    const answer = host("?", stringify(frame));
    if (answer === false) hang();
    const value = parse(answer);
    if (value.error !== undefined) throw new Error(value.error);
    return value;
  }

  function randomBase64(size) {
    if (loading) throw new Error("cannot give random bytes while index.js is being loaded");
    return host("#", String(size));
  }

  // Sends a text or bytes in pieces, so that no copy of the whole is made.
  function pieces(body, send) {
    if (typeof body === "string") {
      for (let at = 0; at < body.length; ) {
        let end = Math.min(at + PIECE, body.length);
        const last = body.charCodeAt(end - 1);
        if (end < body.length && last >= 0xd800 && last < 0xdc00) end--; // keep a pair together
        send({ text: body.slice(at, end) });
        at = end;
      }
    } else {
      for (let at = 0; at < body.length; at += 49152) {
        send({ base64: body.subarray(at, at + 49152).toBase64() });
      }
    }
  }

  // Returns a text or a Uint8Array for what a script wants to send; undefined for nothing.
  function toBody(value) {
    if (value === undefined || value === null || typeof value === "string") return value ?? undefined;
    if (value instanceof ArrayBuffer) return new Uint8Array(value);
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return typeof value === "object" ? stringify(value) : String(value);
  }

  function lineOf() {
    const stack = String(new Error().stack).split("\n");
    return stack.find((line) => line.includes("index.js:"))?.trim() ?? "";
  }

  function startCall(name, onAnswer) {
    if (calls.size >= PENDING) throw new Error(`cannot call ${name}: ${PENDING} calls are pending already`);
    const id = ++lastId;
    calls.set(id, { name, onAnswer, line: lineOf() });
    return id;
  }

  // Log ------------------------------------------------------------------------------------------

  function describe(value, depth = 0, seen = []) {
    if (typeof value === "string") return depth ? stringify(value) : value;
    if (typeof value === "function") return `[function ${value.name || "anonymous"}]`;
    if (typeof value === "bigint") return `${value}n`;
    if (value instanceof Error) {
      const head = String(value), stack = String(value.stack ?? "");
      const at = stack.search(/^ +at /m); // behind the message, which may have changed since
      return at < 0 ? head : `${head}\n${stack.slice(at).trimEnd()}`;
    }
    if (value === null || typeof value !== "object") return String(value);
    if (seen.includes(value)) return "[circular]";
    if (depth > 3) return Array.isArray(value) ? "[…]" : "{…}";
    const inner = [...seen, value];
    const show = (each) => describe(each, depth + 1, inner);
    if (Array.isArray(value)) return `[${value.slice(0, 100).map(show).join(", ")}${value.length > 100 ? ", …" : ""}]`;
    if (value instanceof Date) return isNaN(value) ? "Invalid Date" : value.toISOString();
    if (value instanceof RegExp || value instanceof Promise || ArrayBuffer.isView(value)) return String(value);
    if (value instanceof Map) return `Map ${show([...value])}`;
    if (value instanceof Set) return `Set ${show([...value])}`;
    const keys = Object.keys(value);
    const shown = keys.slice(0, 100).map((key) => `${key}: ${show(value[key])}`);
    return `{${shown.join(", ")}${keys.length > 100 ? ", …" : ""}}`;
  }

  function safely(value) {
    try {
      return describe(value);
    } catch (error) {
      return "[a value that cannot be shown]";
    }
  }

  // Puts values into a text with places for them, as printf does; further values come after it.
  function format(values) {
    const [text, ...rest] = values;
    if (typeof text !== "string" || !rest.length) return values;
    const shown = text.replace(/%[sdifjoOc%]/g, (place) => {
      if (place === "%%") return "%";
      if (!rest.length) return place;
      const value = rest.shift();
      if (place === "%c") return ""; // a style of browsers
      if (place === "%s") return safely(value);
      if (place === "%i") return String(parseInt(value, 10));
      return place === "%d" || place === "%f" ? String(Number(value)) : describe(value, 1);
    });
    return [shown, ...rest];
  }

  function log(level, values) {
    if (lines >= LOG_LINES || characters >= LOG_CHARACTERS) {
      lines++;
      return;
    }
    let text;
    try {
      text = format(values).map(safely).join(" ");
    } catch (error) {
      text = values.map(safely).join(" "); // %d of a Symbol
    }
    if (text.length > LINE_CHARACTERS) {
      text = `${text.slice(0, LINE_CHARACTERS)}… (${text.length - LINE_CHARACTERS} more characters)`;
    }
    lines++;
    characters += text.length;
    if (loading) early.push([level, text]);
    else emit({ op: "log", level, text });
  }

  const levels = { log: "info", info: "info", debug: "debug", trace: "debug", warn: "warning", error: "error" };
  const console = (root.console = {});
  for (const [name, level] of Object.entries(levels)) {
    console[name] = (...values) => log(level, values);
  }
  console.dir = console.log;
  console.assert = (condition, ...values) => {
    if (!condition) log("error", ["Assertion failed:", ...values]);
  };
  const started = new Map(), counted = new Map();
  console.time = (label = "default") => void started.set(label, now());
  console.timeEnd = (label = "default") => {
    if (started.has(label)) log("info", [`${label}: ${(now() - started.get(label)).toFixed(3)} ms`]);
    started.delete(label);
  };
  console.count = (label = "default") => {
    counted.set(label, (counted.get(label) ?? 0) + 1);
    log("info", [`${label}: ${counted.get(label)}`]);
  };
  console.countReset = (label = "default") => void counted.delete(label);
  console.group = console.groupCollapsed = console.table = console.dirxml = console.log;
  console.exception = console.error;
  for (const name of ["groupEnd", "timeLog", "timeStamp", "clear", "profile", "profileEnd"]) console[name] = () => {};

  // Timers ---------------------------------------------------------------------------------------

  function addTimer(timer) {
    let low = 0, high = timers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (timers[middle].due <= timer.due) low = middle + 1;
      else high = middle;
    }
    timers.splice(low, 0, timer);
  }

  function setTimer(action, delay, every, values) {
    if (typeof action !== "function") throw new TypeError("a timer needs a function");
    if (timers.length >= TIMERS) throw new Error(`cannot set a timer: there are ${TIMERS} already`);
    delay = Math.min(Math.max(Number(delay) || 0, every ? 1 : 0), 2147483647);
    const id = ++lastTimer;
    addTimer({ id, action, values, due: now() + delay, every: every ? delay : 0, line: lineOf() });
    return id;
  }

  function clearTimer(id) {
    const at = timers.findIndex((timer) => timer.id === Number(id));
    if (at >= 0) timers.splice(at, 1);
    if (current !== null && current.id === Number(id)) current.every = 0;
  }

  let current = null; // the timer whose action runs
  root.setTimeout = (action, delay, ...values) => setTimer(action, delay, false, values);
  root.setInterval = (action, delay, ...values) => setTimer(action, delay, true, values);
  root.setImmediate = (action, ...values) => setTimer(action, 0, false, values);
  root.clearTimeout = root.clearInterval = root.clearImmediate = clearTimer;

  // Called by the child process --------------------------------------------------------------------

  const FINISHED = -2, UNANSWERED = -3, FAILED = -4, ANY = -1;
  const AFTER_END_MS = 5000; // for calls that are pending when the response has ended

  // Returns how many milliseconds to wait; ANY: until an answer comes; FINISHED and so on: the end.
  root.__status = function () {
    if (failed) return FAILED;
    const next = timers.length ? Math.max(0, Math.ceil(timers[0].due - now())) : ANY;
    if (endedAt) {
      const left = Math.ceil(endedAt + AFTER_END_MS - now());
      if (!calls.size || left <= 0) return FINISHED;
      return next === ANY ? left : Math.min(next, left);
    }
    return next === ANY && !calls.size ? UNANSWERED : next;
  };

  // Takes turns of a loop, at each of which the engine may ask whether the time is over.
  root.__spin = function (turns) {
    while (turns-- > 0);
  };

  // Runs one timer that is due.
  root.__timer = function () {
    if (!timers.length || timers[0].due > now()) return;
    const timer = (current = timers.shift());
    try {
      timer.action.apply(root, timer.values);
    } catch (error) {
      throw readable(error);
    } finally {
      current = null;
      if (timer.every) addTimer(Object.assign(timer, { due: now() + timer.every }));
    }
  };

  root.__deliver = function (text) {
    const event = parse(text);
    const call = calls.get(event.id);
    if (call === undefined) return;
    if (event.end || event.error !== undefined) calls.delete(event.id);
    try {
      call.onAnswer(event);
    } catch (error) {
      throw readable(error);
    }
  };

  // Throws what made the handler fail.
  root.__failure = function () {
    throw failure;
  };

  // Returns the rejections that nobody handles, as texts.
  const takeRejections = (root.__rejections = function () {
    const texts = [];
    for (let at = 0; at < rejected.length; at += 2) {
      if (rejected[at] !== rejected[at + 1]) texts.push(safely(rejected[at + 1]));
    }
    rejected.length = 0;
    return stringify(texts);
  });

  // Returns the lines that wait for something.
  root.__waits = function () {
    const waits = [...calls.values()].map((call) => `${call.name} ${call.line}`);
    waits.push(...timers.map((timer) => `a timer ${timer.line}`));
    return stringify(waits.slice(0, 5));
  };

  // Returns the log until now; the host can be called from now on.
  root.__loaded = function () {
    for (const text of parse(takeRejections())) log("error", [text]);
    loading = false;
    lines = characters = 0;
    return stringify(early.splice(0, 200));
  };

  root.__suppressed = function () {
    return Math.max(0, lines - LOG_LINES);
  };

  // Returns an error for anything that a script throws; memory that ran out stays what it is.
  function readable(error) {
    if (error instanceof Error || error === null) return error;
    const made = new Error(safely(error));
    made.name = "Uncaught";
    made.stack = "";
    return made;
  }

  function fail(error) {
    if (failed) return;
    failed = true;
    failure = readable(error);
  }

  root.__hecate = {
    ask, calls, describe: safely, emit, ended: () => (endedAt = now()), fail, log, now, parse,
    pieces, randomBase64, readable, startCall, stringify, toBody,
  };
})(globalThis);
