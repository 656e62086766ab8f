import { Live, timesOf } from './live.js';

const state = { instances: {}, history: [], messages: {} };

const live = new Live({
  url: '/api/instances/events',
  names: ['source_state', 'message_updated', 'session_updated'],
  onEvent({ type, data }) {
    if (type === 'source_state') {
      state.history.push([data.source, data.state]);
      state.instances[data.source] = data.state;
    } else if (type === 'message_updated') {
      (state.messages[data.sessionId] ??= []).push(data.token);
    }
  },
  async refetch() {
    const instances = await (await fetch('/api/instances')).json();
    state.instances = Object.fromEntries(instances.map(({ name, state }) => [name, state]));
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
