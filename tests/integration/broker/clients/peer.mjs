// MQTT.js for the tests: reads one JSON command a line, answers one JSON line each.
// node peer.mjs MODULE_FOLDER OPTIONS; commands: subscribe, publish, take, close.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder, options] = process.argv.slice(2);
const mqtt = createRequire(`${folder}/`)("mqtt");
const { port, will, properties, ...rest } = JSON.parse(options);
const client = mqtt.connect({
  host: "127.0.0.1", port, reconnectPeriod: 0, properties,
  ...(will && { will: { ...will, payload: Buffer.from(will.payload, "base64") } }), ...rest,
});
const arrived = [];
const takers = [];

const tell = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
const show = (topic, payload, { qos, retain, properties: sent = {} }) => ({
  topic, payload: payload.toString("base64"), qos, retain,
  response_topic: sent.responseTopic ?? null,
  correlation: sent.correlationData?.toString("base64") ?? null,
});

const commands = {
  async subscribe({ filter, qos }) { return (await client.subscribeAsync(filter, { qos }))[0].qos; },
  async publish({ topic, payload, qos, retain, response_topic, correlation }) {
    const sent = {};
    if (response_topic) sent.responseTopic = response_topic;
    if (correlation) sent.correlationData = Buffer.from(correlation, "base64");
    const given = Object.keys(sent).length ? { properties: sent } : {};
    await client.publishAsync(topic, Buffer.from(payload, "base64"), { qos, retain, ...given });
    return null;
  },
  take: () => arrived.shift() ?? new Promise((resolve) => takers.push(resolve)),
  async close() { await client.endAsync(); return null; },
};

client.on("message", (...message) => {
  const taker = takers.shift();
  if (taker) taker(show(...message)); else arrived.push(show(...message));
});
client.on("error", (error) => tell({ error: String(error) }));
client.once("connect", ({ sessionPresent }) => {
  tell({ answer: sessionPresent });
  createInterface({ input: process.stdin }).on("line", async (line) => {
    const { command, ...given } = JSON.parse(line);
    try { tell({ answer: await commands[command](given) }); }
    catch (error) { tell({ error: String(error) }); }
  }).on("close", () => process.exit());
});
