// Chromium as a user of an app behind the gateway: its page, its files, its WebSocket, its events and
// the gateway's, all of one origin. Prints what it sees; the events until the one that says "last".
// Argument: {"url", "ca", "topic"}
import { openPage, report } from './chromium.mjs';

const order = JSON.parse(process.argv[2]);
const { browser, page } = await openPage(order.url, { path: '/', ca: order.ca });

await page.waitForSelector('body[data-loaded]');
report(
  await page.evaluate(() => ({
    items: [...document.querySelectorAll('#items li')].map((entry) => entry.textContent),
    color: getComputedStyle(document.querySelector('h1')).color,
    protocol: performance.getEntriesByType('navigation')[0].nextHopProtocol,
  })),
);

await page.evaluate(async () => {
  const bytes = new Uint8Array(8_000_000);
  // One call gives 64 KiB at most.
  for (let at = 0; at < bytes.length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  }
  const sum = async (content) => {
    const digest = await crypto.subtle.digest('SHA-256', content);
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  };
  const stored = await (await fetch('/files/page', { method: 'PUT', body: bytes })).json();
  await window.report({ stored: stored.bytes, same: stored.sha256 === (await sum(bytes)) });
  for (const path of ['/files/page', '/files/page?stream']) {
    const content = await (await fetch(path)).arrayBuffer();
    await window.report({ got: content.byteLength, same: (await sum(content)) === stored.sha256 });
  }
});

await page.evaluate(async () => {
  const socket = new WebSocket('/ws', 'echo');
  socket.binaryType = 'arraybuffer';
  const next = (name) => new Promise((come) => socket.addEventListener(name, come, { once: true }));
  const echoed = async (message) => {
    socket.send(message);
    return (await next('message')).data;
  };
  await next('open');
  const text = await echoed('Grüße, 世界!');
  const binary = await echoed(new Uint8Array(1_000_000));
  socket.send('close 4001 enough of that');
  const { code, reason } = await next('close');
  await window.report({ text, binary: binary.byteLength, code, reason });
});

await page.evaluate(async (topic) => {
  const own = new EventSource('/app/events');
  const tidegate = new EventSource(`/events?topic=${topic}`);
  own.onerror = () => window.report({ error: `the app's events: readyState ${own.readyState}` });
  tidegate.onerror = () => window.report({ error: `events: readyState ${tidegate.readyState}` });
  const opened = (source) => new Promise((come) => (source.onopen = come));
  own.onmessage = ({ data }) => window.report({ app: data });
  tidegate.addEventListener('news', ({ data }) => window.report({ tidegate: data }));
  const last = new Promise((come) => tidegate.addEventListener('last', come));
  await Promise.all([opened(own), opened(tidegate)]);
  await window.report({ ready: true });
  await last;
  own.close();
  tidegate.close();
}, order.topic);
report({ done: true });
await browser.close();
