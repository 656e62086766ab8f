// A kanban server whose cards are worked on by agents. Streams are the gateway's: the app says what a board's
// begins with, and publishes what happens.
import { HttpError, Text, publish, serve } from '../live/web.mjs';

/** How long the last status of an attempt is told to who comes. */
const RECENT = '10m';

const boards = new Map();

function board(id) {
  const found = boards.get(id);
  if (!found) throw new HttpError(404, `there is no board ${id}`);
  return found;
}

const overview = () => ({
  boards: [...boards.values()].map(({ boardId, attempts }) => ({ boardId, attempts: attempts.length })),
});

const event = (name, data) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

/** Where an event goes. */
function topicOf(boardId, name, data) {
  if (name.startsWith('agent_')) return { topic: '*' };
  if (name === 'dashboard_overview') return { topic: 'dashboard' };
  if (name !== 'attempt_status') return { topic: `board.${boardId}` };
  return { topic: `board.${boardId}.attempt.${data.attemptId}`, retain: true, ttl: RECENT };
}

const tell = (boardId, name, data) => publish({ ...topicOf(boardId, name, data), event: name, data });

serve(import.meta.url, {
  'PUT /api/boards/:id': async ({ id }, { title = id }) => {
    boards.set(id, { boardId: id, title, attempts: [] });
    await tell(id, 'dashboard_overview', overview());
  },
  // What a board's stream begins with.
  'GET /api/boards/:id/snapshot': ({ id }) => {
    const state = board(id);
    return new Text('text/event-stream', event('hello', { serverTime: Date.now() }) + event('state', state));
  },
  'GET /api/dashboard': overview,
  // The state first, then the event that says so: then whoever asks in between has both.
  'POST /api/boards/:id/attempts': async ({ id }, { agent }) => {
    const attempt = { attemptId: `a-${board(id).attempts.length + 1}`, agent, status: 'started' };
    board(id).attempts.push(attempt);
    await tell(id, 'attempt_started', attempt);
    return attempt;
  },
  'PUT /api/boards/:id/attempts/:attempt': async ({ id, attempt }, { status }) => {
    const found = board(id).attempts.find(({ attemptId }) => attemptId === attempt);
    if (!found) throw new HttpError(404, `there is no attempt ${attempt}`);
    found.status = status;
    await tell(id, 'attempt_status', { attemptId: attempt, status });
    return found;
  },
  // Agents report everything else.
  'POST /agent/boards/:id/:name': ({ id, name }, data) => tell(id, name, data),
});
