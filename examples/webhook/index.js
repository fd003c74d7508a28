// Brings signed webhooks to MQTT, and MQTT messages to a webhook of somebody else.

const SIGNATURE = 'x-hub-signature-256';
const NAME = /^\/hooks\/([A-Za-z0-9_-]{1,40})$/;

mimikModule.exports = async (context, request, response) => {
  try {
    if (request.url === '/mqtt') await sendOut(context, JSON.parse(request.body));
    else await takeIn(context, request);
    response.end();
  } catch (error) {
    response.statusCode = error.status || 500; // of /mqtt: the message is tried again
    response.end(JSON.stringify({ detail: error.message }));
  }
};

// POST /hooks/NAME becomes a message on hooks/NAME.
async function takeIn(context, request) {
  const name = NAME.exec(request.url)?.[1];
  if (!name || request.method !== 'POST') fail(404, 'cannot find it: POST to /hooks/NAME');
  if (request.body === undefined) fail(415, 'cannot read hook: its content type must be application/json');
  const secret = context.secrets.hook_secret;
  if (!await isSigned(secret, request.body, request.headers[SIGNATURE])) {
    fail(401, `cannot trust hook: ${SIGNATURE} does not fit its body`);
  }
  await context.mqtt.publish(`hooks/${name}`, request.body);
}

// An alarm becomes a POST to the setting `target`.
async function sendOut(context, { topic, payload, retain }) {
  const url = context.settings.target;
  if (!url || retain) return; // a retained message was sent when it was new
  const headers = { 'content-type': 'application/json' };
  const data = JSON.stringify({ topic, alarm: JSON.parse(payload) });
  await context.http.request({ type: 'POST', url, headers, data });
}

// Compares in constant time, as crypto.subtle.verify does.
async function isSigned(secret, body, header) {
  const hex = /^sha256=([0-9a-f]{64})$/.exec(header ?? '')?.[1];
  if (!secret || !hex) return false;
  const bytes = (text) => new TextEncoder().encode(text);
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', bytes(secret), algorithm, false, ['verify']);
  return crypto.subtle.verify('HMAC', key, Uint8Array.fromHex(hex), bytes(body));
}

function fail(status, message) {
  throw Object.assign(new Error(message), { status });
}
