// Opens streams, publishes to them, and looks at what each got. k6 reads whole bodies, so each stream ends after
// EVENTS events (`?limit`). Environment: see README.md.

import { check } from 'k6';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const publicUrl = __ENV.PUBLIC || 'http://127.0.0.1:8080';
const internal = __ENV.INTERNAL || 'http://127.0.0.1:8081';
const topic = __ENV.TOPIC || 'k6';
const streams = Number(__ENV.STREAMS || 200);
const events = Number(__ENV.EVENTS || 50);
const rate = Number(__ENV.RATE || 20);

const received = new Counter('events_received');

export const options = {
  scenarios: {
    subscribe: {
      executor: 'per-vu-iterations',
      exec: 'subscribe',
      vus: streams,
      iterations: 1,
      maxDuration: '2m',
    },
    publish: {
      executor: 'constant-arrival-rate',
      exec: 'publish',
      rate,
      timeUnit: '1s',
      // Some more, for what k6 itself is too late to begin.
      duration: `${Math.ceil(events / rate) + 5}s`,
      preAllocatedVUs: 4,
    },
  },
  thresholds: {
    checks: ['rate==1'],
    events_received: [`count==${streams * events}`],
  },
};

// Streams begin behind this event, however long k6 takes to open them all.
export function setup() {
  const answer = http.post(`${internal}/topics/${topic}`, 'the last before the streams');
  return JSON.parse(answer.body).id;
}

export function subscribe(cursor) {
  const query = `topic=${topic}&last_event_id=${cursor}&limit=${events}&max_duration=60s`;
  const answer = http.get(`${publicUrl}/events?${query}`, { timeout: '90s' });
  const blocks = answer.body.split('\n\n').filter((block) => /^data: event /m.test(block));
  const places = blocks.map((block) => parseInt(block.match(/^id: [0-9a-f]+-([0-9]+)$/m)[1], 10));
  received.add(blocks.length);
  check(answer, {
    'a stream': ({ status, headers }) =>
      status === 200 && headers['Content-Type'] === 'text/event-stream',
    'every event': () => blocks.length === events,
    'in order': () => places.every((place, at) => at === 0 || place > places[at - 1]),
    'ended at the limit': ({ body }) => /^event: end$[^]*"reason":"limit"/m.test(body),
  });
}

export function publish() {
  const answer = http.post(`${internal}/topics/${topic}`, `event ${__VU} ${__ITER}`);
  check(answer, { accepted: ({ status }) => status === 202 });
}
