// Publishes at a fixed rate, whatever the answers take. Environment: see README.md.

import { check } from 'k6';
import http from 'k6/http';

const internal = __ENV.INTERNAL || 'http://127.0.0.1:8081';
const topic = __ENV.TOPIC || 'k6';
const rate = Number(__ENV.RATE || 1000);
const data = 'x'.repeat(Number(__ENV.BYTES || 128));

export const options = {
  scenarios: {
    publish: {
      executor: 'constant-arrival-rate',
      rate,
      timeUnit: '1s',
      duration: __ENV.DURATION || '30s',
      preAllocatedVUs: 16,
      maxVUs: 256,
    },
  },
  thresholds: {
    checks: ['rate==1'],
    // A publish waits for no consumer.
    http_req_duration: [`p(99)<${__ENV.P99_MS || 50}`],
    // Iterations that k6 itself was too late to begin.
    dropped_iterations: [`count<=${__ENV.DROPPED_MAX || 0}`],
  },
};

export default function () {
  const answer = http.post(`${internal}/topics/${topic}`, data);
  check(answer, {
    'accepted with an id': ({ status, body }) => status === 202 && Boolean(JSON.parse(body).id),
  });
}
