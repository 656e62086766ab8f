// Chromium's own EventSource over a stream that ends: prints each event, each change of the
// connection and each request's Last-Event-ID, until the event named `last`. Requests are seen from
// outside the page: their lines may come later than what they led to.
// Argument: {"url", "names": [...], "last"}
import { openPage, report } from './chromium.mjs';

const order = JSON.parse(process.argv[2]);
const { browser, page } = await openPage(new URL(order.url).origin);

// What the page cannot see: the headers of the stream's requests as they go on the wire.
const network = await page.context().newCDPSession(page);
await network.send('Network.enable');
network.on('Network.requestWillBeSentExtraInfo', ({ headers }) => {
  const sent = new Headers(headers);
  if (sent.get('accept') === 'text/event-stream') {
    report({ request: true, lastEventId: sent.get('last-event-id') });
  }
});

await page.evaluate(
  ({ url, names, last }) =>
    new Promise((done) => {
      const source = new EventSource(url);
      const tell = (line) => window.report({ ...line, at_ms: performance.now() });
      source.onopen = () => tell({ open: true });
      source.onerror = () => tell({ error: true, readyState: source.readyState });
      for (const name of [...names, last]) {
        source.addEventListener(name, (e) =>
          tell({ event: e.type, data: e.data, id: e.lastEventId }),
        );
      }
      source.addEventListener(last, () => {
        source.close();
        done();
      });
    }),
  order,
);
await network.send('Network.disable'); // Answered after every request was reported.
report({ done: true });
await browser.close();
