// The debug page: figures and plots once a second, and of the views below the one that is chosen.

import { api, bytes, count, el, rate, seconds, span } from './dom.js';
import { Plot, quantile } from './plot.js';
import { limitList, sourceList, streamList, topicList } from './tables.js';
import { Tail, publisher } from './tail.js';

const STATS_EVERY_MS = 1000;
const TABLES_EVERY_MS = 4000;

const section = (id) => document.getElementById(id);

const latency = new Plot(section('latency'), {
  title: 'From publish to socket',
  lines: [
    { name: 'p50', className: 'second' },
    { name: 'p99', className: 'first' },
  ],
  format: seconds,
  log: true,
  minutes: 5,
  empty: 'Nothing has been delivered in these minutes.',
});
const rates = new Plot(section('rates'), {
  title: 'Events a second',
  lines: [
    { name: 'published', className: 'second' },
    { name: 'delivered', className: 'first' },
  ],
  format: rate,
  log: false,
  minutes: 5,
  empty: 'No answer yet.',
});

const tail = new Tail(section('tail'));
const streams = streamList(section('streams'));
const lists = {
  streams,
  topics: topicList(section('topics'), {
    tail: (topic) => {
      location.hash = '/tail';
      tail.follow(topic);
    },
    streams: (topic) => {
      location.hash = '/streams';
      streams.form.reset();
      streams.form.elements.topic.value = topic;
      streams.find({ topic });
    },
  }),
  sources: sourceList(section('sources')),
  limits: limitList(section('limits')),
};
publisher(section('publish-form'));

/** Shows the view that the address names. */
function choose() {
  const views = [...document.querySelectorAll('main > section')];
  const chosen = views.find((view) => `#/${view.id}` === location.hash) ?? views[0];
  for (const view of views) view.hidden = view !== chosen;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === `#/${chosen.id}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  lists[chosen.id]?.refresh();
}

function figures(stats, before) {
  const { counters, history } = stats;
  const since = before === null ? null : (stats.time_ms - before.time_ms) / 1000;
  const perSecond = (name) =>
    since === null ? null : (counters[name] - before.counters[name]) / since;
  const p = (part) => (before === null ? null : quantile(before.fanout, stats.fanout, part));
  const [published, delivered] = [perSecond('events_published'), perSecond('events_delivered')];
  const [p50, p99] = [p(0.5), p(0.99)];
  const gaps = Object.values(counters.gaps).reduce((sum, number) => sum + number, 0);
  const dash = (value, format) => (value === null ? '–' : format(value));
  const entries = [
    ['Streams', count(counters.streams_http1 + counters.streams_http2 + counters.streams_poll)],
    ['Published/s', dash(published, rate)],
    ['Delivered/s', dash(delivered, rate)],
    ['p50', dash(p50, seconds)],
    ['p99', dash(p99, seconds)],
    ['Waiting in rings', count(counters.ring_frames)],
    ['Dropped', count(counters.events_dropped_slow), counters.events_dropped_slow > 0],
    ['Gaps told', count(gaps), gaps > 0],
    ['Topics held', count(history.topics)],
    ['History', bytes(history.bytes)],
  ];
  section('figures').replaceChildren(
    ...entries.map(([name, value, isLoss]) =>
      el('div', {}, el('dt', {}, name), el('dd', { className: isLoss ? 'gap' : '' }, value)),
    ),
  );
  return { published, delivered, p50, p99 };
}

let before = null;
let epoch = null;

async function look() {
  const status = section('status');
  try {
    const stats = await api('/stats');
    const of = stats.head.split('-')[0];
    if (of !== epoch) {
      // Another gateway, or the same one after a restart: its counters begin anew.
      [epoch, before] = [of, null];
      const { version, shards, durability } = await api('/version');
      section('about').textContent = `${version} · ${shards} shards · ${durability} · epoch ${of}`;
    }
    const now = figures(stats, before);
    if (before !== null) {
      latency.add(stats.time_ms, [now.p50, now.p99]);
      rates.add(stats.time_ms, [now.published, now.delivered]);
    }
    before = stats;
    status.className = 'live';
    status.textContent = `up ${span(stats.uptime_ms)}`;
  } catch (error) {
    status.className = 'fault';
    status.textContent = `The gateway does not answer (${error.message}). Trying again.`;
  }
}

/** Again and again, a while after the last time is done; nothing while nobody looks. */
async function repeat(action, everyMs) {
  for (;;) {
    if (!document.hidden) await action();
    await new Promise((done) => setTimeout(done, everyMs));
  }
}

window.addEventListener('hashchange', choose);
choose();
repeat(look, STATS_EVERY_MS);
repeat(async () => {
  const seen = document.querySelector('main > section:not([hidden])');
  await lists[seen.id]?.refresh();
}, TABLES_EVERY_MS);
