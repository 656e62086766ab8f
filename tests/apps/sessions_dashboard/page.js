import { Live, timesOf } from './live.js';

const state = { sessions: {}, board: {}, pings: [], arrivals: {} };

async function fetchAll(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return Object.fromEntries((await response.json()).map((item) => [item.id, item]));
}

const live = new Live({
  url: '/api/live',
  names: ['session_updated', 'card_updated'],
  onEvent({ type, data }) {
    (type === 'session_updated' ? state.sessions : state.board)[data.id] = data;
    if (data.at) state.arrivals[data.id] = Date.now() - data.at;
  },
  async refetch() {
    [state.sessions, state.board] = await Promise.all([fetchAll('/api/sessions'), fetchAll('/api/board')]);
  },
  onHeartbeat: (data) => state.pings.push({ at: Date.now(), data: JSON.parse(data) }),
  times: timesOf(location.search),
});

Object.assign(window, { live, state });
live.start();
