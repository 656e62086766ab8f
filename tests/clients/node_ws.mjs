// The npm package `ws`, against an app that echoes: prints what comes back.
// Argument: {"url", "ca"}
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import WebSocket from 'ws';

const { url, ca } = JSON.parse(process.argv[2]);
const report = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function open() {
  const address = `${url.replace(/^http/, 'ws')}/ws`;
  const socket = new WebSocket(address, 'echo', { ca: ca ? readFileSync(ca) : undefined });
  await once(socket, 'open');
  return socket;
}

async function echoed(socket, message) {
  socket.send(message);
  const [data] = await once(socket, 'message');
  return data;
}

let socket = await open();
report({ protocol: socket.protocol });
report({ text: (await echoed(socket, 'Grüße, 世界!')).toString() });
report({ binary: (await echoed(socket, Buffer.from([0, 255, 13, 10]))).toString('hex') });
const large = randomBytes(1_000_000);
const back = await echoed(socket, large);
report({ large: back.length, same: large.equals(back) });
socket.ping('are you there?');
const [pong] = await once(socket, 'pong');
report({ pong: pong.toString() });
socket.send('close 4001 enough of that');
const [code, reason] = await once(socket, 'close');
report({ app_closed: code, reason: reason.toString() });

socket = await open();
socket.close(4002, 'leaving');
const [answered] = await once(socket, 'close');
report({ we_closed: answered });
report({ done: true });
