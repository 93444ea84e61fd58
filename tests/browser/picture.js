// Takes the README's picture of the review page, from a running `placet demo`, as a phone shows it.
//
//     PLACET=target/debug/placet node tests/browser/picture.js FILE.png       (docs/images/make calls it)

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { PHONE, startBrowser } from './browser.js';

const demo = spawn(process.env.PLACET, ['demo'], { stdio: ['ignore', 'pipe', 'inherit'] });
const browser = await startBrowser();
try {
  let link;
  for await (const line of createInterface({ input: demo.stdout })) {
    link = line.match(/http:\S+\/r\/\S+/)?.[0];
    if (link) break;
  }
  const context = await browser.newContext({ ...PHONE, colorScheme: 'light', timezoneId: 'Europe/Berlin' });
  const page = await context.newPage();
  await page.goto(link);
  await page.getByRole('button', { name: 'Approve' }).waitFor();
  await page.screenshot({ path: process.argv[2] });
} finally {
  await browser.close();
  demo.kill();
}
