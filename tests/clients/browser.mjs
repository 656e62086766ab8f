// Chromium's own EventSource: prints what it receives until the event named `last`.
// Argument: {"url", "names": [...], "ready", "last"}
import { openPage } from './chromium.mjs';

const order = JSON.parse(process.argv[2]);
const { browser, page } = await openPage(new URL(order.url).origin);

await page.evaluate(
  ({ url, names, ready, last }) =>
    new Promise((done) => {
      const source = new EventSource(url);
      source.onerror = () => window.report({ error: `readyState ${source.readyState}` });
      source.addEventListener(ready, () => window.report({ ready: true }));
      source.onmessage = (e) => window.report({ error: `an event without a name: ${e.data}` });
      for (const name of names) {
        source.addEventListener(name, (e) =>
          window.report({ event: e.type, data: e.data, id: e.lastEventId }),
        );
      }
      source.addEventListener(last, async () => {
        source.close();
        await window.report({ done: true });
        done();
      });
    }),
  order,
);
await browser.close();
