// A page of an app, used from outside: one order a line, and one line of answer for each.
//   {"run": EXPRESSION}   its value
//   {"wait": EXPRESSION}  its value, once that is truthy
//   {"offline": BOOL}     the browser's network goes or comes back
//   {"block": PATTERN}    requests to such URLs fail, until {"unblock": PATTERN}
//   {"blockStreams": PATTERN}  those of EventSource alone
//   {"reload": true}
// Argument: {"url", "path", "device"}; `device` is one of playwright's, such as "Pixel 7".
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPage, report } from './chromium.mjs';

const WAIT_MS = 20_000;

const { url, path = '/', device = null } = JSON.parse(process.argv[2]);
const { browser, page } = await openPage(url, { path, device });
page.on('pageerror', (error) => console.error(error));

const orders = {
  run: (expression) => page.evaluate(expression),
  // From outside: `waitForFunction` has the page evaluate a text, which the page's policy may forbid.
  wait: async (expression) => {
    for (const end = Date.now() + WAIT_MS; Date.now() < end; await sleep(10)) {
      const value = await page.evaluate(expression);
      if (value) return value;
    }
    throw new Error(`not within ${WAIT_MS} ms: ${expression}`);
  },
  offline: (offline) => page.context().setOffline(offline),
  block: (pattern) => page.route(pattern, (route) => route.abort()),
  blockStreams: (pattern) =>
    page.route(pattern, (route) =>
      route.request().resourceType() === 'eventsource' ? route.abort() : route.continue(),
    ),
  unblock: (pattern) => page.unroute(pattern),
  reload: () => page.reload().then(() => null),
};

report({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const [[order, argument]] = Object.entries(JSON.parse(line));
  try {
    report({ value: (await orders[order](argument)) ?? null });
  } catch (error) {
    const journal = await page.evaluate('window.live?.journal').catch(() => null);
    report({ error: error.message, journal });
  }
}
await browser.close();
