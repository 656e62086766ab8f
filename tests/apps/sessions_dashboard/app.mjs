// A dashboard of terminal sessions and a board. Streams are the gateway's: the app keeps the state, says who is
// signed in, and publishes what changes.
import { HttpError, publish, serve, tidegate } from '../live/web.mjs';

const sessions = new Map();
const board = new Map();
const signedIn = new Map();
let lastToken = 0;

function user(req) {
  const [, token] = /(?:^|; )login=([^;]*)/.exec(req.headers.cookie ?? '') ?? [];
  if (!signedIn.has(token)) throw new HttpError(401, 'sign in first');
  return { token, name: signedIn.get(token) };
}

async function change(items, topic, event, id, fields) {
  const item = { ...items.get(id), ...fields, id };
  items.set(id, item);
  await publish({ topic, event, data: item });
  return item;
}

serve(import.meta.url, {
  'POST /login': (_params, { name }, _req, res) => {
    const token = String(++lastToken);
    signedIn.set(token, name);
    res.setHeader('set-cookie', `login=${token}; Path=/; HttpOnly`);
    return { name };
  },
  'POST /logout': async (_params, _body, req) => {
    const { token } = user(req);
    signedIn.delete(token);
    return tidegate('DELETE', `/sessions/login-${token}`);
  },
  // What the gateway asks before it opens a stream.
  'GET /auth/live': (_params, _body, req, res) => {
    const { token, name } = user(req);
    res.setHeader('tidegate-session', `login-${token}`);
    res.setHeader('tidegate-metadata', JSON.stringify({ name }));
  },
  'GET /api/sessions': (_params, _body, req) => user(req) && [...sessions.values()],
  'GET /api/board': (_params, _body, req) => user(req) && [...board.values()],
  // Terminals report themselves.
  'PUT /api/sessions/:id': ({ id }, fields) =>
    change(sessions, `sessions.${id}`, 'session_updated', id, fields),
  'PUT /api/board/:id': ({ id }, fields) => change(board, 'board', 'card_updated', id, fields),
});
