// Takes the pictures of docs/images: the debug page of a gateway with some hundred streams, two of which do not
// read. Takes a minute. `make screenshots` calls it. Argument: the gateway's binary.
import { spawn } from 'node:child_process';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const STREAMS = 400;
const EVENTS_PER_SECOND = 60;
const SECONDS = 57; // the plots show a minute
const images = new URL('../../docs/images/', import.meta.url).pathname;

const gateway = spawn(process.argv[2], ['--listen', '127.0.0.1:0', '--internal', '127.0.0.1:0', '--log-format', 'json'], {
  stdio: ['ignore', 'inherit', 'pipe'],
});
process.on('exit', () => gateway.kill());
const { public: open, internal } = await new Promise((resolve) => {
  createInterface(gateway.stderr).on('line', (line) => {
    const said = JSON.parse(line);
    if (said.message === 'listening') resolve(said);
  });
});

const subscribe = (topics, read) => {
  const query = topics.map((topic) => `topic=${encodeURIComponent(topic)}`).join('&');
  http.get(`http://${open}/events?${query}`, (stream) => read ? stream.resume() : stream.pause());
};
subscribe(['export.7'], false);
subscribe(['export.7'], false);
for (let n = 0; n < STREAMS; n += 1) subscribe([`board.${n % 150}`, `user.${n}`, 'presence.*'], true);

const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
const publish = (topic, data) => {
  const body = JSON.stringify({ topic, event: topic.split('.')[0], data });
  const request = http.request(`http://${internal}/publish`, { method: 'POST', agent });
  request.on('response', (response) => response.resume());
  request.end(body);
};
let tick = 0;
setInterval(() => {
  tick += 1;
  publish(`board.${(tick * 7) % 150}`, { card: tick, column: ['todo', 'doing', 'done'][tick % 3] });
  if (tick % 30 === 0) publish(`presence.${tick % 9}`, { user: tick % STREAMS, state: 'here' });
  if (tick % 4 === 0) publish('export.7', { rows: 'x'.repeat(3000) });
}, 1000 / EVENTS_PER_SECOND);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync'],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
await page.goto(`http://${internal}/debug/`);
await page.waitForTimeout(SECONDS * 1000);

const picture = (name, options = {}) => page.screenshot({ path: `${images}${name}.png`, ...options });
await picture('debug-page-light');
const plot = await page.locator('figure').first().boundingBox();
const margin = 12;
await picture('latency-plot', {
  clip: { x: plot.x - margin, y: plot.y - margin, width: plot.width + 2 * margin, height: plot.height + 2 * margin },
});
await page.emulateMedia({ colorScheme: 'dark' });
await page.getByRole('link', { name: 'Tail', exact: true }).click();
await page.fill('#tail-form [name=topic]', 'board.*');
await page.check('#tail-form [name=open]');
await page.getByRole('button', { name: 'Start' }).click();
await page.locator('#tail-events pre').nth(5).waitFor();
await picture('debug-page-dark');
await browser.close();
process.exit(0);
