// Headless Chromium with one page of the gateway's own origin open, and no business but ours.
import { chromium } from 'playwright-core';

const QUIET = [
  '--no-sandbox', // the tests may run as root
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--no-proxy-server',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Prints one JSON line; the test reads these. */
export function report(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Opens a page of `origin`, where scripts may call `report(line)`. Any page will do: an
 * unknown path's answer is of the same origin, so that EventSource needs no CORS. */
export async function openPage(origin) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: QUIET,
  });
  const page = await browser.newPage();
  await page.exposeFunction('report', report);
  await page.goto(`${origin}/no-such-page`);
  return { browser, page };
}
