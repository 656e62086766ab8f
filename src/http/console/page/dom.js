// Making elements, asking the internal API, and showing figures. Everything that comes from outside
// becomes a text node: no markup is ever made of a string.

const SVG = 'http://www.w3.org/2000/svg';

/** An element with properties and children; strings become text nodes. */
export function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** The same of SVG, with attributes. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Asks the internal API. Paths are relative, so that the page may lie below any other path. */
export async function api(path, options = {}) {
  const response = await fetch(`..${path}`, { cache: 'no-store', ...options });
  const text = await response.text();
  if (!response.ok) {
    let detail = text;
    try {
      detail = JSON.parse(text).detail;
    } catch {
      // Somebody between has answered: its words are all there is.
    }
    throw new Error(`${response.status}: ${detail}`);
  }
  return text === '' ? null : JSON.parse(text);
}

/** A path with a query of what is not empty. */
export function withQuery(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== '' && value !== null);
  const query = new URLSearchParams(given).toString();
  return query === '' ? path : `${path}?${query}`;
}

/** The fields of a form. */
export function fields(form) {
  return Object.fromEntries(new FormData(form));
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const count = (number) => whole.format(number);
export const rate = (number) => (number < 10_000 ? whole : short).format(number);

export function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  while (number >= 1024 && at < units.length - 1) {
    number /= 1024;
    at += 1;
  }
  return `${Number(number.toFixed(number >= 100 ? 0 : 1))} ${units[at]}`;
}

/** Seconds, in the unit that reads best. */
export function seconds(time) {
  if (time < 0.001) return `${Math.round(time * 1e6)} µs`;
  if (time < 1) return `${Number((time * 1000).toPrecision(time < 0.01 ? 2 : 3))} ms`;
  return `${Number(time.toPrecision(3))} s`;
}

/** How long ago, or how long. */
export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** A moment, by this browser's clock and zone. */
export function clock(ms) {
  const time = new Date(ms);
  const padded = (number, digits = 2) => String(number).padStart(digits, '0');
  return `${padded(time.getHours())}:${padded(time.getMinutes())}:${padded(time.getSeconds())}.${padded(time.getMilliseconds(), 3)}`;
}
