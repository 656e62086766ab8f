// A model server with an event stream of its own, as each of them has it: the answer to a message comes token by
// token. Who comes back with its Last-Event-ID has everything since.
import { setTimeout as sleep } from 'node:timers/promises';

import { HttpError, serve } from '../live/web.mjs';

const log = [];
const streams = new Set();

const frame = ({ id, event, data }) => `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

function emit(event, data) {
  const entry = { id: log.length + 1, event, data };
  log.push(entry);
  for (const stream of streams) stream.write(frame(entry));
}

serve(import.meta.url, {
  'GET /event': (_params, _body, req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write('retry: 50\nevent: heartbeat\ndata: {"type":"server.connected"}\n\n');
    const last = Number(req.headers['last-event-id'] ?? log.length);
    for (const entry of log.slice(last)) res.write(frame(entry));
    streams.add(res);
    res.on('close', () => streams.delete(res));
  },
  // What a session is about to do, told again and again, then `tokens` of an answer, one every `everyMs`; a child
  // session has the one that it belongs to.
  'POST /sessions/:id/messages': async ({ id }, { plans = [], tokens = [], everyMs = 0, parentId }) => {
    const session = parentId === undefined ? { sessionId: id } : { sessionId: id, parentId };
    for (const [index, plan] of plans.entries()) emit('session_progress', { ...session, index, plan });
    for (const [index, token] of tokens.entries()) {
      emit('message_updated', { ...session, index, token, at: Date.now() });
      await sleep(everyMs);
    }
    emit('session_updated', { ...session, status: 'idle' });
  },
  'GET /streams': () => streams.size,
  // The network fails: nobody is told so.
  'POST /drop': () => {
    if (streams.size === 0) throw new HttpError(409, 'there is no stream to drop');
    for (const stream of streams) stream.destroy();
  },
});
