// The live tail of a topic: asks /tail again and again, each time from where the last answer ended. What
// it missed in between is told as a gap. And the form to publish.

import { api, clock, count, el, fields, withQuery } from './dom.js';

/** Events that are kept; the oldest go. */
const ROWS_MAX = 500;

/** Of one event's data so much is shown in its line. */
const PREVIEW_MAX = 300;

/** Of one event's data so much is shown. */
const TEXT_MAX = 20_000;

export class Tail {
  constructor(section) {
    this.form = section.querySelector('form');
    this.list = section.querySelector('ol');
    this.state = section.querySelector('[role=status]');
    this.pauseButton = section.querySelector('#tail-pause');
    this.seen = 0;
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.start();
    });
    this.form.elements.filter.addEventListener('input', () => this.filterAll());
    this.form.elements.open.addEventListener('change', () => this.openAll());
    this.pauseButton.addEventListener('click', () => (this.running ? this.pause() : this.resume()));
    section.querySelector('#tail-clear').addEventListener('click', () => this.list.replaceChildren());
  }

  /** Follows another topic from now on. */
  follow(topic) {
    this.form.elements.topic.value = topic;
    this.start();
  }

  start() {
    const { topic, history } = fields(this.form);
    this.running?.abort();
    this.list.replaceChildren();
    this.topic = topic;
    this.fromHistory = history === 'on';
    this.cursor = '';
    this.seen = 0;
    this.resume();
  }

  pause() {
    this.running.abort();
    this.running = null;
    this.pauseButton.textContent = 'Resume';
    this.tell('Paused: it goes on where it was.');
  }

  resume() {
    this.running = new AbortController();
    this.pauseButton.disabled = false;
    this.pauseButton.textContent = 'Pause';
    this.run(this.running.signal);
  }

  async run(signal) {
    while (!signal.aborted) {
      this.tell(`Following ${this.topic}: ${count(this.seen)} events.`);
      try {
        const after = await this.place();
        const path = withQuery('/tail', { topic: this.topic, after, wait: '20s', limit: 200 });
        const answer = await api(path, { signal });
        this.cursor = answer.cursor;
        this.show(answer);
      } catch (error) {
        if (signal.aborted) return;
        this.tell(`No answer, trying again: ${error.message}`);
        await new Promise((done) => setTimeout(done, 2000));
      }
    }
  }

  /** Where to go on; at first from the beginning of the history, or from now on. */
  async place() {
    if (this.cursor !== '' || !this.fromHistory) return this.cursor;
    return `${(await api('/version')).epoch}-0`;
  }

  show({ events, gap }) {
    const rows = events.map((event) => this.eventRow(event));
    if (gap !== null) rows.unshift(gapRow(gap));
    this.seen += events.length;
    // The newest is on top: what is above the list stays in sight.
    this.list.prepend(...rows.reverse());
    while (this.list.childElementCount > ROWS_MAX) this.list.lastElementChild.remove();
  }

  eventRow({ id, topics, event, data, accepted_ms }) {
    const shown = pretty(data);
    const rest = shown.length - TEXT_MAX;
    const text = rest > 0 ? `${shown.slice(0, TEXT_MAX)}\n… ${count(rest)} more characters` : shown;
    const head = el(
      'summary',
      {},
      el('time', { title: new Date(accepted_ms).toISOString() }, clock(accepted_ms)),
      el('span', { className: 'quiet', title: id }, id.split('-')[1]),
      ...topics.map((topic) => el('code', {}, topic)),
      el('b', {}, event ?? ''),
      el('code', { className: 'preview' }, data.slice(0, PREVIEW_MAX)),
    );
    const { open } = this.form.elements;
    const row = el('li', {}, el('details', { open: open.checked }, head, el('pre', {}, text)));
    row.dataset.text = `${event ?? ''} ${data}`.toLowerCase();
    this.filterOne(row);
    return row;
  }

  openAll() {
    const { checked } = this.form.elements.open;
    for (const details of this.list.querySelectorAll('details')) details.open = checked;
  }

  filterAll() {
    for (const row of this.list.children) this.filterOne(row);
  }

  /** A gap is shown whatever is filtered. */
  filterOne(row) {
    const wanted = this.form.elements.filter.value.toLowerCase();
    row.hidden = row.dataset.text !== undefined && !row.dataset.text.includes(wanted);
  }

  tell(text) {
    this.state.textContent = text;
  }
}

const REASONS = {
  expired: 'the history does not hold them any more',
  corrupt: 'the log was damaged there',
  epoch: 'the gateway has begun a new order since',
  ahead: 'the cursor is beyond the last event',
};

function gapRow({ after, to, count: lost, reason }) {
  const many = lost === null ? 'Some events are' : lost === 1 ? 'One event is' : `${count(lost)} events are`;
  const where = after === null ? `up to ${to}` : `after ${after}, up to ${to}`;
  const why = REASONS[reason] ?? reason;
  return el('li', { className: 'gap' }, el('b', {}, 'Gap '), `${many} missing ${where}: ${why}.`);
}

/** JSON on several lines; anything else as it is. */
function pretty(data) {
  try {
    return JSON.stringify(JSON.parse(data), null, 2);
  } catch {
    return data;
  }
}

export function publisher(form) {
  const said = form.querySelector('output');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const { topic, event: name, data, retain } = fields(form);
    // `data` is sent as it is written, whether it is JSON or not.
    const message = { topic, data, ...(name !== '' && { event: name }), ...(retain && { retain: true }) };
    try {
      const answer = await api('/publish', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(message),
      });
      said.className = 'quiet';
      said.textContent = `Published as ${answer.id}.`;
    } catch (error) {
      said.className = 'fault';
      said.textContent = `Not published: ${error.message}`;
    }
  });
}
