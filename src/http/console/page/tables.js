// Streams, topics, sources and limits as tables, a page at a time.

import { api, bytes, count, el, fields, span, withQuery } from './dom.js';

const PAGE = 50;

/** How a stream reaches its client. */
const CARRIERS = { http1: 'HTTP/1', http2: 'HTTP/2', poll: 'a long poll, which waits' };

/** A cell: a text, or an element. */
function row(cells, columns) {
  return el('tr', {}, ...cells.map((cell, at) => el('td', { className: columns[at][1] }, cell)));
}

function table(columns, rows) {
  const heads = columns.map(([name, className]) => el('th', { scope: 'col', className }, name));
  const body = el('tbody', {}, ...rows.map((cells) => row(cells, columns)));
  return el('div', { className: 'scroll' }, el('table', {}, el('thead', {}, el('tr', {}, ...heads)), body));
}

const quiet = (text) => el('p', { className: 'quiet' }, text);
const fault = (error) => el('p', { className: 'fault' }, `This could not be read: ${error.message}.`);

function button(label, action, title = '') {
  const made = el('button', { type: 'button', className: 'small', title }, label);
  made.addEventListener('click', action);
  return made;
}

/** A list that is read a page at a time, and again every few seconds while it is seen. */
export class Listing {
  /** @param {{path: string, name: string, columns: [string, string][], cells: (entry) => any[], empty: string,
   *   emptySearch?: string}} settings */
  constructor(section, settings) {
    this.settings = settings;
    this.place = section.querySelector('.listing');
    this.form = section.querySelector('form.bar');
    this.search = {};
    this.before = [];
    this.after = '';
    this.form?.addEventListener('submit', (event) => {
      event.preventDefault();
      this.find(fields(this.form));
    });
  }

  /** Searches anew, from the first page. */
  find(search) {
    this.search = search;
    this.before = [];
    this.after = '';
    return this.refresh();
  }

  async refresh() {
    const { path, name, columns, cells, empty, emptySearch } = this.settings;
    const asked = withQuery(path, { ...this.search, after: this.after, limit: this.settings.limit ?? '' });
    this.asked = asked;
    let answer;
    try {
      answer = await api(asked);
    } catch (error) {
      if (this.asked === asked) this.place.replaceChildren(fault(error));
      return;
    }
    // Another search has begun since, or somebody is about to press a button of the table.
    if (this.asked !== asked) return;
    const entries = answer[name];
    const searches = Object.values(this.search).some((value) => value !== '') || this.after !== '';
    if (entries.length === 0 && answer.next == null) {
      this.place.replaceChildren(quiet(searches ? (emptySearch ?? empty) : empty), this.pages(answer, 0));
      return;
    }
    const focused = this.focusedAt();
    this.place.replaceChildren(table(columns, entries.map(cells)), this.pages(answer, entries.length));
    this.focusAgain(focused);
  }

  /** A refresh keeps the keyboard's place: the n-th button or link of the list. */
  focusedAt() {
    return [...this.place.querySelectorAll('button, a')].indexOf(document.activeElement);
  }

  focusAgain(at) {
    if (at >= 0) this.place.querySelectorAll('button, a')[at]?.focus();
  }

  pages(answer, shown) {
    const first = this.before.length;
    if (first === 0 && answer.next == null) return quiet(shown === 0 ? '' : `${count(shown)} in all`);
    const previous = button('Previous', () => {
      this.after = this.before.pop();
      this.refresh();
    });
    const next = button('Next', () => {
      this.before.push(this.after);
      this.after = answer.next;
      this.refresh();
    });
    previous.disabled = first === 0;
    next.disabled = answer.next == null;
    return el('p', { className: 'pages' }, previous, next, el('span', { className: 'quiet' }, `page ${first + 1}`));
  }
}

const state = (text) => el('span', { className: `state ${text}` }, text);
const place = (id) => (id === null ? '–' : el('span', { title: id }, id.split('-')[1]));

function topics(names, all) {
  const more = all - Math.min(names.length, 3);
  const shown = names.slice(0, 3).map((name) => el('code', {}, name));
  return el('span', { className: 'names' }, ...shown, more > 0 ? el('span', { className: 'quiet' }, `+${more}`) : null);
}

export function streamList(section) {
  const detail = section.querySelector('.detail');
  const show = (id) => showStream(detail, id, () => list.refresh());
  const list = new Listing(section, {
    path: '/streams',
    name: 'streams',
    limit: PAGE,
    columns: [
      ['Id', ''],
      ['Address', ''],
      ['Topics', 'grow'],
      ['State', ''],
      ['Waiting', 'number'],
      ['Lost', 'number wide'],
      ['Cursor', 'number wide'],
      ['Route', 'wide'],
      ['HTTP', 'wide'],
      ['Open', 'number wide'],
    ],
    cells: (stream) => [
      button(stream.id, () => show(stream.id), 'Show this stream'),
      stream.address ?? 'unknown',
      topics(stream.topics, stream.topics_count),
      state(stream.state),
      stream.waiting === null ? '–' : count(stream.waiting),
      stream.gap_owed === null ? '0' : el('span', { className: 'gap' }, count(stream.gap_owed.count)),
      place(stream.cursor),
      stream.route ?? 'shared',
      stream.protocol.replace('http', ''),
      span(Date.now() - stream.opened_ms),
    ],
    empty: 'No stream is open. Subscribers connect to the public listener: GET /events?topic=board.42',
    emptySearch: 'No open stream is like that.',
  });
  return list;
}

async function showStream(detail, id, changed) {
  detail.hidden = false;
  let stream;
  try {
    stream = await api(`/streams/${id}`);
  } catch (error) {
    detail.replaceChildren(el('h3', {}, id), fault(error));
    return;
  }
  const facts = [
    ['Topics', codes(stream.topics)],
    ['Events named', stream.names === null ? 'any' : codes(stream.names)],
    ['Address', stream.address ?? 'unknown: over TLS or HTTP/2, and of a long poll, the shard does not have the socket'],
    ['Carried by', `${CARRIERS[stream.protocol]}${stream.compressed ? ', compressed' : ''}`],
    ['Session', stream.session ?? 'none'],
    ['Shard', String(stream.shard)],
    ['Cursor', stream.cursor],
    ['Waiting', stream.waiting === null ? 'it reads the history' : `${count(stream.waiting)} events`],
    ['Lost, not told yet', stream.gap_owed === null ? 'nothing' : `${count(stream.gap_owed.count)} events up to ${stream.gap_owed.to}`],
    ['Open since', new Date(stream.opened_ms).toLocaleString()],
  ];
  const said = el('p', { className: 'quiet' });
  const end = button('End this stream', async () => {
    try {
      await api(`/streams/${id}`, { method: 'DELETE' });
      said.textContent = 'It is told “revoked” and ends.';
      changed();
    } catch (error) {
      said.textContent = error.message;
    }
  });
  const close = button('Close', () => {
    detail.hidden = true;
  });
  const entries = facts.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]);
  detail.replaceChildren(
    el('h3', {}, `Stream ${id} `, state(stream.state)),
    el('dl', {}, ...entries),
    explainForm(id),
    el('p', { className: 'pages' }, end, close),
    said,
  );
  detail.scrollIntoView({ block: 'nearest' });
}

function codes(names) {
  return el('span', { className: 'names' }, ...names.map((name) => el('code', {}, name)));
}

/** Asks why a stream has an event, or has not. */
function explainForm(id) {
  const input = el('input', { name: 'event', required: true, spellcheck: false, placeholder: 'id of an event' });
  const said = el('p', { className: 'why' });
  const form = el('form', { className: 'bar' }, el('label', {}, 'Why does it have, or not have, this event? ', input), el('button', {}, 'Explain'));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    try {
      const answer = await api(withQuery(`/streams/${id}/explain`, fields(form)));
      said.replaceChildren(el('b', {}, answer.outcome.replaceAll('_', ' ')), `: ${answer.why}`, ...details(answer));
    } catch (error) {
      said.replaceChildren(el('span', { className: 'fault' }, error.message));
    }
  });
  return el('div', {}, form, said);
}

function details({ event_topics: of, event_name: name, stream_topics: asked, stream_names: named, matched_by: by, gap }) {
  const said = [];
  if (of !== null && by === null) said.push(' The event is of ', codes(of), ', and the stream asked for ', codes(asked), '.');
  if (by !== null) said.push(' The stream asked for ', el('code', {}, by), '.');
  if (of !== null && named !== null) {
    said.push(' The event’s name is ', el('code', {}, name ?? 'message'), ', and the stream asked for ', codes(named), '.');
  }
  if (gap !== null) {
    const many = gap.count === null ? '' : ` of ${count(gap.count)} events`;
    said.push(el('span', { className: 'gap' }, ` The gap${many} (${gap.reason}) ends at ${gap.to}.`));
  }
  return said;
}

/** @param {{tail: (topic: string) => void, streams: (topic: string) => void}} go */
export function topicList(section, go) {
  return new Listing(section, {
    path: '/topics',
    name: 'topics',
    limit: PAGE,
    columns: [
      ['Topic', 'grow'],
      ['Subscribers', 'number'],
      ['Events', 'number'],
      ['Bytes', 'number wide'],
      ['Retained', 'number wide'],
      ['Last', 'number wide'],
      ['', ''],
    ],
    cells: (topic) => [
      topic.topic === '*' ? el('em', {}, 'to everyone') : el('code', {}, topic.topic),
      count(topic.subscribers),
      count(topic.events),
      bytes(topic.bytes),
      count(topic.retained),
      place(topic.last_id),
      topic.topic === '*'
        ? ''
        : el(
            'span',
            { className: 'actions' },
            button('Tail', () => go.tail(topic.topic)),
            button('Streams', () => go.streams(topic.topic)),
          ),
    ],
    empty: 'Nothing has been published yet. The form under “Publish” does it.',
    emptySearch: 'The history has no such topic.',
  });
}

export function sourceList(section) {
  return new Listing(section, {
    path: '/sources',
    name: 'sources',
    columns: [
      ['Name', ''],
      ['State', ''],
      ['For', 'number'],
      ['Published', 'number'],
      ['Refused', 'number wide'],
      ['URL', 'grow wide'],
      ['Error', 'grow'],
    ],
    cells: (source) => [
      el('code', {}, source.name),
      state(source.state),
      span(Date.now() - source.since_ms),
      count(source.events.published),
      count(source.events.refused + source.events.too_large),
      source.url,
      source.held ?? (source.state === 'connected' ? '' : (source.last_error ?? '')),
    ],
    empty: 'The gateway reads no upstream event streams. PUT /sources/{name} adds one.',
  });
}

export function limitList(section) {
  const amount = (number, unit) => (unit.startsWith('bytes') ? bytes(number) : count(number));
  return new Listing(section, {
    path: '/limits',
    name: 'limits',
    columns: [
      ['Key', 'grow'],
      ['In use', 'number'],
      ['', 'wide'],
      ['At most', 'number'],
      ['Of', 'wide'],
    ],
    cells: (limit) => [
      el('code', {}, limit.name),
      limit.used === null ? '' : amount(limit.used, limit.unit),
      limit.used === null
        ? ''
        : el('meter', { max: limit.max, value: limit.used, high: limit.max * 0.9, title: limit.name }),
      amount(limit.max, limit.unit),
      limit.unit,
    ],
    empty: '',
  });
}
