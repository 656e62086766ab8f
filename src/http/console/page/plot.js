// A plot of some lines over the last minutes, as SVG: axes with units, and the values under the pointer.

import { el, svg } from './dom.js';

const HEIGHT = 170;
const LEFT = 54;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 24;

/** Where a value lies on an axis that counts powers of ten: of 1 at the bottom, of 0 at the top. */
function onLogAxis(value, low, high) {
  const part = Math.log(Math.max(value, low) / low) / Math.log(high / low);
  return TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(part, 1));
}

function onLinearAxis(value, _low, high) {
  return TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(value / high, 1));
}

/** The next of 1, 2, 5, 10, 20 … that is not below. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

export class Plot {
  /** @param {{title: string, lines: {name: string, className: string}[], format: (value: number) => string,
   *   log: boolean, minutes: number, empty: string}} settings */
  constructor(figure, settings) {
    this.settings = settings;
    this.samples = [];
    this.drawing = svg('svg', { role: 'img', 'aria-label': settings.title, height: HEIGHT });
    this.legend = el('span', { className: 'legend' });
    figure.append(el('figcaption', {}, settings.title, this.legend), this.drawing);
    this.drawing.addEventListener('pointermove', (event) => this.point(event));
    this.drawing.addEventListener('pointerleave', () => {
      this.pointed = null;
      this.draw();
    });
    this.draw();
  }

  /** Adds values at a time, one for each line; `null` where there is none. */
  add(time, values) {
    this.samples.push({ time, values });
    const oldest = time - this.settings.minutes * 60_000;
    this.samples = this.samples.filter((sample) => sample.time >= oldest);
    this.draw();
  }

  point(event) {
    const box = this.drawing.getBoundingClientRect();
    this.pointed = event.clientX - box.left;
    this.draw();
  }

  draw() {
    const { lines, format, log, empty } = this.settings;
    // As wide as its place, so that the letters have one size on every screen.
    const width = this.drawing.clientWidth || 560;
    this.drawing.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    const all = this.samples.flatMap((sample) => sample.values).filter((value) => value !== null);
    const highest = Math.max(...all, log ? 0.001 : 2);
    const [low, high] = log ? [0.0001, 10 ** Math.ceil(Math.log10(highest * 1.05))] : [0, roundUp(highest)];
    const y = (value) => (log ? onLogAxis : onLinearAxis)(value, low, high);
    const end = this.samples.at(-1)?.time ?? Date.now();
    // It begins with one minute, so that the first values are not lost in a corner.
    const begin = this.samples[0]?.time ?? end;
    const minutes = Math.min(Math.max(Math.ceil((end - begin) / 60_000), 1), this.settings.minutes);
    const x = (time) => LEFT + (width - LEFT - RIGHT) * (1 - (end - time) / (minutes * 60_000));

    const ticks = [];
    if (log) for (let value = low; value <= high * 1.001; value *= 10) ticks.push(value);
    else ticks.push(0, high / 2, high);
    const parts = ticks.flatMap((value) => [
      svg('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      svg('text', { x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' }, format(value)),
    ]);
    for (let minute = 0; minute <= minutes; minute += 1) {
      const at = x(end - minute * 60_000);
      const anchor = minute === 0 ? 'end' : minute === minutes ? 'start' : 'middle';
      const label = minute === 0 ? 'now' : `−${minute} min`;
      parts.push(svg('text', { x: at, y: HEIGHT - 6, 'text-anchor': anchor }, label));
    }
    if (all.length === 0) {
      const middle = (LEFT + width - RIGHT) / 2;
      parts.push(svg('text', { class: 'empty', x: middle, y: TOP + 40, 'text-anchor': 'middle' }, empty));
    }
    lines.forEach((line, at) => {
      // Where there is no value, the line is interrupted; one value by itself is a dot.
      let path = '';
      let pen = 'M';
      for (const { time, values } of this.samples) {
        const value = values[at];
        if (value === null) {
          pen = 'M';
          continue;
        }
        path += `${pen}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
        path += pen === 'M' ? 'h0' : '';
        pen = 'L';
      }
      parts.push(svg('path', { class: `line ${line.className}`, d: path }));
    });
    const shown = this.shown(x);
    if (shown !== undefined && this.pointed) {
      const at = x(shown.time);
      parts.push(svg('line', { class: 'pointer', x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM }));
    }
    this.drawing.replaceChildren(...parts);
    this.tell(shown);
  }

  /** The sample under the pointer, or the last one. */
  shown(x) {
    if (!this.pointed) return this.samples.at(-1);
    const distance = (sample) => Math.abs(x(sample.time) - this.pointed);
    return this.samples.reduce(
      (best, sample) => (best === undefined || distance(sample) < distance(best) ? sample : best),
      undefined,
    );
  }

  tell(sample) {
    const { lines, format } = this.settings;
    const entries = lines.map((line, at) => {
      const value = sample?.values[at] ?? null;
      return el(
        'span',
        { className: `key ${line.className}` },
        `${line.name} `,
        el('b', {}, value === null ? '–' : format(value)),
      );
    });
    this.legend.replaceChildren(...entries);
  }
}

/** A quantile of what came between two readings of a histogram, in seconds; `null` if nothing came. */
export function quantile(before, now, part) {
  const counts = now.counts.map((count, at) => count - before.counts[at]);
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let left = part * total;
  for (const [at, count] of counts.entries()) {
    if (left <= count && count > 0) {
      const from = at === 0 ? 0 : now.bounds_seconds[at - 1];
      // Above every bound nothing is known but that.
      const to = now.bounds_seconds[at] ?? from;
      return from + ((to - from) * left) / count;
    }
    left -= count;
  }
  return now.bounds_seconds.at(-1);
}
