// The board of `?boardId=`, or the dashboard.
import { Live, timesOf } from './live.js';

const EVENTS = [
  ...['hello', 'state', 'heartbeat', 'attempt_started', 'attempt_status', 'attempt_log'],
  ...['conversation_item', 'attempt_session', 'attempt_todos', 'git_status', 'git_commit', 'git_push'],
  ...['attempt_pr', 'agent_profile', 'agent_registered', 'dashboard_overview'],
];

const boardId = new URLSearchParams(location.search).get('boardId');
const state = { events: [], attempts: {}, overview: null };

function onEvent({ type, data, id }) {
  state.events.push({ type, data, id });
  if (type === 'state') state.attempts = Object.fromEntries(data.attempts.map((one) => [one.attemptId, one]));
  if (type === 'attempt_started') state.attempts[data.attemptId] ??= data;
  if (type === 'attempt_status') Object.assign((state.attempts[data.attemptId] ??= {}), data);
  if (type === 'dashboard_overview') state.overview = data;
}

const live = new Live({
  url: boardId === null ? '/api/dashboard/events' : `/api/events?boardId=${encodeURIComponent(boardId)}`,
  names: EVENTS,
  onEvent,
  // Without a stream: what one would begin with.
  async refetch() {
    if (boardId === null) state.overview = await (await fetch('/api/dashboard')).json();
  },
  control: {
    hello: 'tidegate-hello',
    heartbeat: 'tidegate-heartbeat',
    gap: 'tidegate-gap',
    end: 'tidegate-end',
  },
  times: timesOf(location.search),
});

Object.assign(window, { live, state });
live.start();
