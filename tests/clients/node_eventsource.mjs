// The npm package `eventsource`: prints what it receives until the event named `last`.
// Argument: {"url", "names": [...], "ready", "last", "cookie"}
import { EventSource } from 'eventsource';

const { url, names, ready, last, cookie = '' } = JSON.parse(process.argv[2]);
const report = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const source = new EventSource(url, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, cookie } }),
});
source.onerror = (error) => report({ error: `${error.message ?? error.type}` });
source.onmessage = (e) => report({ error: `an event without a name: ${e.data}` });
source.addEventListener(ready, () => report({ ready: true }));
for (const name of names) {
  source.addEventListener(name, (e) => report({ event: e.type, data: e.data, id: e.lastEventId }));
}
source.addEventListener(last, () => {
  source.close();
  report({ done: true });
});
