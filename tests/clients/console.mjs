// Chromium as an operator with the debug page open: goes through its views, and prints what is seen.
// Argument: {"url", "stream"}
import { openPage, report } from './chromium.mjs';

const order = JSON.parse(process.argv[2]);
const { browser, page } = await openPage(order.url, { path: '/' });

// What the page's policy forbids, what fails in it, and what it asks of others than the gateway.
const faults = [];
page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
page.on('pageerror', (error) => faults.push(error.message));
page.on('request', (request) => {
  if (!request.url().startsWith(order.url) && !request.url().startsWith('data:')) faults.push(request.url());
});
await page.reload();

const texts = (selector) => page.locator(selector).allTextContents();
const seen = (selector) => page.locator(selector).first().waitFor();
const view = (name) => page.getByRole('link', { name, exact: true }).click();

await seen('#streams td');
const shown = (await texts('#streams tbody tr')).length;
const first = (await texts('#streams .pages .quiet'))[0];
await page.getByRole('button', { name: 'Next' }).click();
await page.getByText('page 2').waitFor();
report({ streams: { shown, page: first, after_next: (await texts('#streams .pages .quiet'))[0] } });

await page.fill('#stream-search [name=topic]', 'board.7');
await page.press('#stream-search [name=topic]', 'Enter');
await page.getByText('1 in all').waitFor();
report({ search: { ids: await texts('#streams td:first-child') } });

await view('Topics');
await page.fill('#topic-search [name=prefix]', '<b>');
await page.press('#topic-search [name=prefix]', 'Enter');
await page.locator('#topics').getByText('1 in all').waitFor();
report({ topics: { names: await texts('#topics td:first-child') } });

await view('Publish');
await page.fill('#publish-form [name=topic]', 'board.1');
await page.fill('#publish-form [name=data]', '{"n":1}');
const published = page.waitForResponse((response) => response.url().endsWith('/publish'));
await page.getByRole('button', { name: 'Publish' }).click();
report({ published: String((await published).status()) });
const id = /Published as (\S+)\./.exec(await page.locator('#published', { hasText: 'Published as' }).textContent())[1];

await view('Tail');
await page.fill('#tail-form [name=topic]', '<b>board</b>');
await page.check('#tail-form [name=history]');
await page.check('#tail-form [name=open]');
await page.getByRole('button', { name: 'Start' }).click();
await seen('#tail-events pre');
report({ tail: { name: (await texts('#tail-events summary b'))[0], data: (await texts('#tail-events pre'))[0] } });
await page.fill('#tail-form [name=filter]', 'no such text');
report({ filtered: { shown: await page.locator('#tail-events li:visible').count() } });
await page.fill('#tail-form [name=filter]', '');
await page.getByRole('button', { name: 'Pause' }).click();
report({ paused: true });
// The test publishes this last.
await page.waitForFunction(async () => (await (await fetch('/topics/go')).json()).events === 1);
await page.getByRole('button', { name: 'Clear' }).click();
await page.getByRole('button', { name: 'Resume' }).click();
await seen('#tail-events details');
report({
  resumed: {
    events: await page.locator('#tail-events details').count(),
    gaps: await page.locator('#tail-events li.gap').count(),
    gap: (await texts('#tail-events li.gap'))[0],
  },
});

await view('Sources');
await seen('#sources td');
report({ sources: { name: (await texts('#sources td'))[0], text: (await texts('#sources table'))[0] } });

await view('Streams');
await page.locator('#streams td button').first().click();
await page.fill('#stream [name=event]', id);
await page.getByRole('button', { name: 'Explain' }).click();
report({ explained: (await page.locator('#stream .why b').textContent()) });
await page.getByRole('button', { name: 'End this stream' }).click();
await page.getByText('No open stream is like that.').waitFor();
report({ ended: true });

// Two samples make a line.
await page.waitForFunction(() => document.querySelector('#rates path.first').getAttribute('d').includes('L'));
report({
  plot: await page.evaluate(() => ({
    points: document.querySelector('#rates path.first').getAttribute('d').split(/[ML]/).length - 1,
    ticks: [...document.querySelectorAll('#latency text')].map((tick) => tick.textContent),
  })),
});

const widths = [];
for (const width of [1280, 390]) {
  await page.setViewportSize({ width, height: 900 });
  for (const name of ['Streams', 'Topics', 'Tail', 'Publish', 'Sources', 'Limits']) {
    await view(name);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    widths.push({ width, name, overflow: Math.max(overflow, 0) });
  }
}
report({ widths });
report({ end: { title: await page.title(), faults } });
await browser.close();
