// The little that the Node apps have of a web framework: routes, JSON, their page, and a publisher.
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript' };
const folderOf = (url) => path.dirname(fileURLToPath(url));

/** An answer that is not JSON. */
export class Text {
  constructor(type, text) {
    this.type = type;
    this.text = text;
  }
}

export class HttpError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Serves `routes`, as `'PUT /api/boards/:id': (params, body, req) => value`: what they return is JSON, or a
 * `Text`, or nothing. The files beside the app at `url` are its page. */
export function serve(url, routes) {
  const table = Object.entries(routes).map(([route, handler]) => {
    const [method, template] = route.split(' ');
    return { method, pattern: new RegExp(`^${template.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`), handler };
  });

  async function answer(req, res) {
    const { pathname } = new URL(req.url, 'http://app.invalid');
    for (const { method, pattern, handler } of table) {
      const match = req.method === method && pattern.exec(pathname);
      if (match) return send(res, await handler({ ...match.groups }, await readJson(req), req, res));
    }
    if (req.method !== 'GET') throw new HttpError(404, 'there is no such page');
    await sendFile(res, pathname === '/' ? 'index.html' : path.basename(pathname));
  }

  async function sendFile(res, name) {
    for (const place of [url, import.meta.url].map(folderOf)) {
      const content = await readFile(path.join(place, name)).catch(() => null);
      const type = TYPES[path.extname(name)];
      if (content !== null && type) return res.writeHead(200, { 'content-type': type }).end(content);
    }
    throw new HttpError(404, 'there is no such page');
  }

  const server = http.createServer((req, res) => {
    answer(req, res).catch((error) => {
      if (!error.status) console.error(error);
      res.statusCode = error.status ?? 500;
      send(res, { error: error.message });
    });
  });
  server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? '127.0.0.1', () => {
    const { address, port } = server.address();
    console.log(`listening on http://${address}:${port}`);
  });
  return server;
}

function send(res, value) {
  if (value === undefined) return res.headersSent || res.writeHead(204).end();
  const { type, text } = value instanceof Text ? value : new Text('application/json', JSON.stringify(value));
  res.setHeader('content-type', type).end(text);
}

async function readJson(req) {
  const parts = [];
  for await (const part of req) parts.push(part);
  return parts.length === 0 ? {} : JSON.parse(Buffer.concat(parts).toString());
}

const TIDEGATE = process.env.TIDEGATE_URL ?? 'http://127.0.0.1:8081';

/** Asks the gateway's internal listener. */
export async function tidegate(method, target, value) {
  const body = value === undefined ? undefined : JSON.stringify(value);
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${TIDEGATE}${target}`, { method, headers, body });
  const answer = await response.text();
  if (!response.ok) throw new HttpError(502, `the gateway says ${response.status}: ${answer}`);
  return answer === '' ? undefined : JSON.parse(answer);
}

export const publish = (event) => tidegate('POST', '/publish', event);
