// The demo's app: a page, and an event a second to the topic "clock". Environment: PORT, and TIDEGATE, the
// URL of the gateway's internal listener.

import { createServer } from 'node:http';

const page = `<!doctype html>
<meta charset="utf-8">
<title>Tidegate</title>
<h1>Tidegate</h1>
<p>The app says it is <output id="time">not known yet</output>.</p>
<script>
  const events = new EventSource('/events?topic=clock');
  events.addEventListener('tick', (event) => {
    document.getElementById('time').textContent = JSON.parse(event.data).time;
  });
</script>
`;

const server = createServer((request, response) => {
  if (request.url !== '/') {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': 'text/html' }).end(page);
});

async function publish() {
  const tick = { topic: 'clock', event: 'tick', data: { time: new Date().toISOString() }, retain: true };
  const options = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(tick),
  };
  try {
    const answer = await fetch(`${process.env.TIDEGATE}/publish`, options);
    if (!answer.ok) {
      console.error(`not published: ${answer.status} ${await answer.text()}`);
    }
  } catch (error) {
    // The gateway may not be there yet; the next second will tell.
    console.error(`not published: ${error.cause ?? error}`);
  }
}

server.listen(Number(process.env.PORT), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
  setInterval(publish, 1000);
});
