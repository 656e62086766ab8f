// Streams as they come, event by event, which k6 alone cannot read: for a k6 that is built with xk6-sse,
// `xk6 build --with github.com/phymbert/xk6-sse`. Publish beside it with publish.js. Environment: see README.md.

import { check } from 'k6';
import { Counter } from 'k6/metrics';
import sse from 'k6/x/sse';

const publicUrl = __ENV.PUBLIC || 'http://127.0.0.1:8080';
const topic = __ENV.TOPIC || 'k6';
const events = Number(__ENV.EVENTS || 50);

const received = new Counter('events_received');

export const options = {
  vus: Number(__ENV.STREAMS || 200),
  duration: __ENV.DURATION || '30s',
  thresholds: { checks: ['rate==1'] },
};

export default function () {
  const url = `${publicUrl}/events?topic=${topic}`;
  let left = events;
  const answer = sse.open(url, { headers: { accept: 'text/event-stream' } }, (client) => {
    client.on('event', (event) => {
      if (event.name === 'hello') {
        return;
      }
      received.add(1);
      left -= 1;
      if (left === 0) {
        client.close();
      }
    });
    client.on('error', () => client.close());
  });
  check(answer, { 'a stream': ({ status }) => status === 200 });
}
