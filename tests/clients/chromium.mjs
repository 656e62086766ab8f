// Headless Chromium with one page of the gateway's own origin open, and no business but ours.
import { chromium, devices } from 'playwright-core';

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

/** Opens a page of `origin`, where scripts may call `report(line)`. For most any page will do: an
 * unknown path's answer is of the same origin, so that EventSource needs no CORS. Where `ca` names an
 * authority, which this browser does not know, any certificate is taken: the other clients check it. `device` is what it looks like to the page. */
export async function openPage(origin, { path = '/no-such-page', ca = null, device = null } = {}) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: QUIET,
  });
  const page = await browser.newPage({ ...devices[device], ignoreHTTPSErrors: ca !== null });
  await page.exposeFunction('report', report);
  await page.goto(`${origin}${path}`);
  return { browser, page };
}
