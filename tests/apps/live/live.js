// What a page needs around the browser's EventSource: a stream that went silent is noticed, one that broke
// is opened again in growing steps, a page that comes back to the foreground has fresh data, and when there
// is no stream at all the page goes on by long polls of the same URL, or at last by fetching now and then.

export const TIMES = Object.freeze({
  staleHeartbeats: 1.8, // of silence, then the stream is dead: 18 s with a heartbeat of 10 s
  refetchAfterMs: 4_000, // data that is older is fetched anew when the page comes back
  retryBaseMs: 1_500, // before the first reconnect, then doubled
  retryMaxMs: 12_000,
  attemptsMax: 8, // that fail one after the other, then the page polls
  pollMs: 30_000, // between two fetches, when long polls fail too
});

const JOURNAL_MAX = 500;
const RESUMES = ['visibilitychange', 'pageshow', 'focus', 'online'];

/** The times of a page: those in its address (`?pollMs=1000`) take the place of the usual ones. */
export function timesOf(search) {
  const given = [...new URLSearchParams(search)].filter(([name]) => name in TIMES);
  return { ...TIMES, ...Object.fromEntries(given.map(([name, text]) => [name, Number(text)])) };
}

export class Live {
  /** What has happened, newest last: for the console, and whoever wonders. */
  journal = [];
  /** connecting, open, waiting, polling or closed. */
  status = 'closed';
  /** Silence after which the stream is dead; known once `hello` has told the heartbeat. */
  staleMs = Infinity;

  #options;
  #source = null;
  #opened = false;
  #cursor = '';
  #attempts = 0;
  #freshAt = 0;
  #retry = null;
  #watchdog = null;
  #polling = null;

  /** `names` are the events of the app, each given to `onEvent({ type, data, id })`; `refetch()` gets the whole
   * state; `control` renames the gateway's own events. */
  constructor({ url, names, onEvent, refetch, onHeartbeat, control = {}, times = TIMES }) {
    const ours = { hello: 'hello', heartbeat: '', gap: 'gap', end: 'end', ...control };
    this.#options = { url, names, onEvent, refetch, onHeartbeat, control: ours, times };
    for (const name of RESUMES) {
      (name === 'visibilitychange' ? document : window).addEventListener(name, () => this.#resume(name));
    }
  }

  async start() {
    await this.#refetch('start');
    this.#open();
  }

  close() {
    this.#shut();
    this.#is('closed');
  }

  #open() {
    const { names, control, onHeartbeat } = this.#options;
    this.#shut();
    this.#is('connecting');
    const source = new EventSource(this.#address());
    this.#source = source;
    const listen = (name, heard) =>
      source.addEventListener(name || 'message', (event) => {
        this.#cursor = event.lastEventId || this.#cursor;
        this.#alive();
        heard?.(event.data);
      });
    source.onopen = () => this.#alive();
    source.onerror = () => this.#lost('error');
    listen(control.hello, (data) => this.#hello(JSON.parse(data)));
    listen(control.heartbeat, onHeartbeat);
    listen(control.gap, (data) => this.#refetch('gap', JSON.parse(data)));
    listen(control.end, (data) => this.#end(JSON.parse(data)));
    for (const name of names) listen(name, (data) => this.#deliver(name, data, this.#cursor));
    this.#watch();
  }

  /** Of the stream, from where it was. */
  #address() {
    const address = new URL(this.#options.url, location.href);
    if (this.#cursor) address.searchParams.set('last_event_id', this.#cursor);
    return address;
  }

  #deliver(type, data, id) {
    this.#freshAt = Date.now();
    this.#options.onEvent({ type, data: JSON.parse(data), id });
  }

  /** Something came: whatever failed before is over. */
  #alive() {
    if (this.status !== 'open') this.#is('open');
    this.#attempts = 0;
    this.#watch();
  }

  #watch() {
    clearTimeout(this.#watchdog);
    if (this.staleMs < Infinity) this.#watchdog = setTimeout(() => this.#lost('stale'), this.staleMs);
  }

  #hello({ heartbeat_ms: heartbeatMs, resumed }) {
    this.staleMs = heartbeatMs ? heartbeatMs * this.#options.times.staleHeartbeats : Infinity;
    this.#watch();
    this.#note('hello', { resumed });
    // A stream that does not go on where the last one ended: something may lie between.
    if (!resumed && this.#opened) this.#refetch('not resumed');
    this.#opened = true;
  }

  /** The gateway says when to come back; that is no failure. */
  #end({ reason, retry_ms: retryMs }) {
    this.#shut();
    this.#wait(retryMs, { why: 'end', reason });
  }

  #lost(why) {
    const { retryBaseMs, retryMaxMs, attemptsMax } = this.#options.times;
    this.#shut();
    if (why === 'stale' && this.#attempts === 0) {
      this.#attempts = 1;
      this.#note('stale', {});
      return this.#open();
    }
    if (this.#attempts === attemptsMax) return this.#fallBack();
    const delayMs = Math.min(retryBaseMs * 2 ** this.#attempts, retryMaxMs);
    this.#attempts += 1;
    this.#wait(delayMs, { why, attempt: this.#attempts });
  }

  #wait(delayMs, detail) {
    this.#is('waiting', { delayMs, ...detail });
    this.#retry = setTimeout(() => this.#open(), delayMs);
  }

  async #fallBack() {
    const { pollMs } = this.#options.times;
    const { signal } = (this.#polling = new AbortController());
    this.#is('polling');
    while (!signal.aborted) {
      try {
        await this.#longPoll(signal);
      } catch {
        if (signal.aborted) return;
        await this.#refetch('poll');
        await new Promise((over) => setTimeout(over, pollMs));
      }
    }
  }

  /** What the stream would have brought: the same topics and rights, from the same cursor. */
  async #longPoll(signal) {
    const response = await fetch(this.#address(), { headers: { accept: 'application/json' }, signal });
    if (!response.ok) throw new Error(`${response.status}`);
    const { events, cursor, gap } = await response.json();
    if (gap) await this.#refetch('gap', gap);
    for (const { event, data, id } of events) {
      const type = event ?? 'message';
      if (this.#options.names.includes(type)) this.#deliver(type, data, id);
    }
    this.#cursor = cursor;
    this.#note('polled', { events: events.length });
  }

  /** The page is looked at again, or has a network again. */
  #resume(why) {
    if (document.visibilityState === 'hidden' || this.status === 'closed') return;
    const ageMs = Date.now() - this.#freshAt;
    if (ageMs > this.#options.times.refetchAfterMs) this.#refetch(why, { ageMs });
    if (this.status === 'waiting' || this.status === 'polling') {
      this.#attempts = 0;
      this.#open();
    }
  }

  async #refetch(why, detail = {}) {
    this.#freshAt = Date.now();
    try {
      await this.#options.refetch();
      this.#note('refetch', { why, ...detail });
    } catch (error) {
      this.#note('refetch failed', { why, error: String(error) });
    }
  }

  #shut() {
    this.#source?.close();
    clearTimeout(this.#watchdog);
    clearTimeout(this.#retry);
    this.#polling?.abort();
  }

  #is(status, detail = {}) {
    this.status = status;
    this.#note(status, detail);
  }

  #note(what, detail) {
    this.journal.push({ at: Date.now(), what, ...detail });
    if (this.journal.length > JOURNAL_MAX) this.journal.shift();
  }
}
