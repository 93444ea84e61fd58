// Takes the pictures of the documents from a running `placet demo`: the review page as a phone shows it, or the page of the
// demo, with the chat beside it.
//
//     PLACET=target/debug/placet node tests/browser/picture.js FILE.png [side-by-side]     (docs/images/make calls it)

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { PHONE, startBrowser } from './browser.js';

const [file, both] = process.argv.slice(2);
const wanted = both ? /http:\S+\/demo\/\w+/u : /http:\S+\/r\/\S+/u;
const window = both ? { viewport: { width: 1060, height: 900 } } : PHONE;

const demo = spawn(process.env.PLACET, ['demo'], { stdio: ['ignore', 'pipe', 'inherit'] });
const browser = await startBrowser();
try {
  let link;
  for await (const line of createInterface({ input: demo.stdout })) {
    link = wanted.exec(line)?.[0];
    if (link) break;
  }
  const context = await browser.newContext({ ...window, colorScheme: 'light', timezoneId: 'Europe/Berlin' });
  const page = await context.newPage();
  await page.goto(link);
  const places = both ? ['iframe.chat', 'iframe.phone'].map((frame) => page.frameLocator(frame)) : [page];
  for (const place of places) await place.getByRole('button', { name: 'Approve' }).waitFor();
  await page.screenshot({ path: file });
} finally {
  await browser.close();
  demo.kill();
}
