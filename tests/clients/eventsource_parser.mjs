// What the npm package eventsource-parser makes of event streams. One stream a line: its pieces, as texts
// with a character a byte. For each, one line with what it says, in order.
import { createInterface } from 'node:readline';
import { createParser } from 'eventsource-parser';

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const said = [];
  const parser = createParser({
    onEvent: ({ id, event, data }) => said.push({ id, event, data }),
    onRetry: (retry) => said.push({ retry }),
  });
  const decoder = new TextDecoder();
  for (const piece of JSON.parse(line)) {
    parser.feed(decoder.decode(Buffer.from(piece, 'latin1'), { stream: true }));
  }
  // It waits with a CR for what comes next, up to an end of line. A comment says nothing itself, and
  // completes no event.
  parser.feed(':\n');
  console.log(JSON.stringify(said));
}
