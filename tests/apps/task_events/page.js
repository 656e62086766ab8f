import { Live, timesOf } from './live/live.js';

const state = { tasks: {}, events: [] };

const live = new Live({
  url: '/api/events',
  names: ['task.created', 'task.status', 'trigger.fired', 'memory.changed'],
  onEvent({ type, data }) {
    state.events.push({ type, data });
    if (type.startsWith('task.')) state.tasks[data.id] = { ...state.tasks[data.id], ...data };
  },
  async refetch() {
    const response = await fetch('/api/tasks');
    if (!response.ok) throw new Error(`tasks: ${response.status}`);
    state.tasks = Object.fromEntries((await response.json()).map((task) => [task.id, task]));
  },
  times: timesOf(location.search),
});

Object.assign(window, { live, state });
live.start();
