// An app as a Node team writes it: node:http and the package ws. What it serves is in ../README.md.
'use strict';

const { createHash } = require('node:crypto');
const { createReadStream, createWriteStream } = require('node:fs');
const { readFile, stat } = require('node:fs/promises');
const http = require('node:http');
const path = require('node:path');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { setTimeout: sleep } = require('node:timers/promises');
const { gzipSync } = require('node:zlib');
const { WebSocketServer } = require('ws');

const PAGE = path.join(__dirname, '..', 'page');
const UPLOADS = process.env.UPLOADS;
const UPLOAD_BYTES_MAX = 128 * 1024 * 1024;
const TYPES = { '.html': 'text/html; charset=utf-8', '.css': 'text/css', '.js': 'text/javascript' };

const items = new Map();
let lastId = 0;
const listeners = new Set();

function sendJson(res, value, status = 200, headers = {}) {
  const body = JSON.stringify(value);
  res.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...headers,
  });
  res.end(body);
}

async function readText(req) {
  const parts = [];
  for await (const part of req) parts.push(part);
  return Buffer.concat(parts).toString();
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** A file of the page: 304 for who has it, 206 for who wants a part. */
async function sendStatic(req, res, name) {
  const file = path.join(PAGE, path.basename(name));
  const content = await readFile(file).catch(() => null);
  if (content === null) return sendJson(res, { error: 'there is no such file' }, 404);
  const etag = `"${sha256(content).slice(0, 16)}"`;
  const headers = { 'content-type': TYPES[path.extname(file)], etag, 'accept-ranges': 'bytes' };
  if (req.headers['if-none-match'] === etag) return res.writeHead(304, { etag }).end();
  const range = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range ?? '');
  if (!range) {
    res.writeHead(200, { ...headers, 'content-length': content.length });
    return res.end(content);
  }
  const part = content.subarray(Number(range[1]), Number(range[2]) + 1);
  const end = Number(range[1]) + part.length - 1;
  res.writeHead(206, {
    ...headers,
    'content-length': part.length,
    'content-range': `bytes ${range[1]}-${end}/${content.length}`,
  });
  res.end(part);
}

async function allItems(req, res, url) {
  if (req.method === 'POST') {
    const item = { id: ++lastId, ...JSON.parse(await readText(req)) };
    items.set(item.id, item);
    return sendJson(res, item, 201, { location: `/api/items/${item.id}` });
  }
  const wanted = url.searchParams.getAll('tag');
  const has = (item) => wanted.every((tag) => item.tags.includes(tag));
  sendJson(res, [...items.values()].filter(has));
}

async function oneItem(req, res, url) {
  const id = Number(path.basename(url.pathname));
  if (!items.has(id)) return sendJson(res, { error: 'there is no such item' }, 404);
  if (req.method === 'PUT') items.set(id, { id, ...JSON.parse(await readText(req)) });
  if (req.method === 'DELETE') {
    items.delete(id);
    return res.writeHead(204).end();
  }
  sendJson(res, items.get(id));
}

function session(req, res) {
  if (req.method === 'POST') {
    const cookies = ['session=s-1; HttpOnly; Path=/', 'theme=dark; Max-Age=3600; Path=/'];
    return res.writeHead(204, { 'set-cookie': cookies }).end();
  }
  const pairs = (req.headers.cookie ?? '').split('; ').filter(Boolean);
  sendJson(res, Object.fromEntries(pairs.map((pair) => pair.split('='))));
}

function report(req, res) {
  const rows = Array.from({ length: 5000 }, (_, row) => ({ row, text: 'the same again' }));
  if (!/\bgzip\b/.test(req.headers['accept-encoding'] ?? '')) return sendJson(res, rows);
  const body = gzipSync(JSON.stringify(rows));
  res.writeHead(200, {
    'content-type': 'application/json',
    'content-encoding': 'gzip',
    'content-length': body.length,
    vary: 'Accept-Encoding',
  });
  res.end(body);
}

async function form(req, res) {
  const headers = { 'content-type': req.headers['content-type'] };
  const fields = await new Response(Readable.toWeb(req), { headers }).formData();
  const seen = {};
  for (const [name, value] of fields) {
    if (typeof value === 'string') {
      seen[name] = value;
    } else {
      const content = Buffer.from(await value.arrayBuffer());
      seen[name] = { name: value.name, bytes: content.length, sha256: sha256(content) };
    }
  }
  sendJson(res, seen);
}

function headers(req, res) {
  const pairs = [];
  for (let at = 0; at < req.rawHeaders.length; at += 2) {
    pairs.push([req.rawHeaders[at].toLowerCase(), req.rawHeaders[at + 1]]);
  }
  sendJson(res, pairs);
}

async function slow(_req, res) {
  await sleep(2000);
  sendJson(res, { slow: true });
}

function goRelative(_req, res) {
  res.writeHead(302, { location: '../api/items' }).end();
}

function goAbsolute(req, res) {
  const proto = req.headers['x-forwarded-proto'] ?? 'http';
  const host = req.headers['x-forwarded-host'] ?? req.headers.host;
  res.writeHead(307, { location: `${proto}://${host}/api/items` }).end();
}

async function upload(req, res, file) {
  if (Number(req.headers['content-length'] ?? 0) > UPLOAD_BYTES_MAX) {
    return sendJson(res, { error: 'at most 128 MiB' }, 413);
  }
  const digest = createHash('sha256');
  let bytes = 0;
  const measure = async function* (parts) {
    for await (const part of parts) {
      digest.update(part);
      bytes += part.length;
      yield part;
    }
  };
  await pipeline(req, measure, createWriteStream(file));
  sendJson(res, { bytes, sha256: digest.digest('hex') });
}

async function download(req, res, url, file) {
  const { size } = await stat(file);
  const headers = { 'content-type': 'application/octet-stream' };
  if (!url.searchParams.has('stream')) headers['content-length'] = size;
  res.writeHead(200, headers);
  if (req.method === 'HEAD') return res.end();
  await pipeline(createReadStream(file), res);
}

async function events(req, res) {
  if (req.method === 'POST') {
    const text = await readText(req);
    for (const listener of listeners) listener(text);
    return res.writeHead(204).end();
  }
  let number = 0;
  const listener = (text) => res.write(`id: ${++number}\ndata: ${text}\n\n`);
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  res.write('retry: 500\n\n');
  listeners.add(listener);
  res.on('close', () => listeners.delete(listener));
}

const ROUTES = {
  '/': (req, res) => sendStatic(req, res, 'index.html'),
  '/api/items': allItems,
  '/api/session': session,
  '/api/report': report,
  '/api/form': form,
  '/api/headers': headers,
  '/api/slow': slow,
  '/go/relative': goRelative,
  '/go/absolute': goAbsolute,
  '/app/events': events,
  '/app/events/listeners': (_req, res) => sendJson(res, listeners.size),
};

async function route(req, res) {
  const url = new URL(req.url, 'http://app.invalid');
  const exact = ROUTES[url.pathname];
  if (exact) return exact(req, res, url);
  if (url.pathname.startsWith('/static/')) return sendStatic(req, res, url.pathname);
  if (url.pathname.startsWith('/api/items/')) return oneItem(req, res, url);
  if (url.pathname.startsWith('/files/')) {
    const file = path.join(UPLOADS, path.basename(url.pathname));
    return req.method === 'PUT' ? upload(req, res, file) : download(req, res, url, file);
  }
  sendJson(res, { error: 'there is no such page' }, 404);
}

const server = http.createServer((req, res) => {
  route(req, res).catch((error) => {
    // A client that leaves in the middle is none of our failures.
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE' && error.code !== 'ECONNRESET') {
      console.error(error);
    }
    if (!res.headersSent) return sendJson(res, { error: 'something went wrong' }, 500);
    res.destroy();
  });
});

const handleProtocols = (offered) => (offered.has('echo') ? 'echo' : false);
new WebSocketServer({ server, path: '/ws', handleProtocols }).on('connection', (socket) => {
  socket.on('message', (data, isBinary) => {
    const close = isBinary ? null : /^close (\d+) (.*)$/.exec(data.toString());
    if (close) return socket.close(Number(close[1]), close[2]);
    socket.send(data, { binary: isBinary });
  });
});

server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
