// What people see of the usual requests, on a phone and on a desk, light and dark: one screen, the title its largest line.
// With SHOTS=folder the pictures are kept, to be looked at.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { PHONE, axeViolations, button, heading, sidewaysPixels, startBrowser, visit } from './browser.js';
import { startGate } from './gate.js';

const { SHOTS } = process.env;
if (SHOTS) mkdirSync(SHOTS, { recursive: true });

const DESK = { viewport: { width: 1280, height: 800 } };
const ROW = (at) => ({
  order: `A-${1000 + at}`,
  customer: `customer${at}@example.com`,
  amount: at + 0.1,
  currency: 'EUR',
});

const BODY = `Dear Ann,

your order A-1042 leaves our house tomorrow. You find the invoice attached; please pay within 14 days.

If something is not right, answer to this mail.

Kind regards
ACME GmbH`;

const SIGHTS = {
  payment: {
    action: 'payment.send',
    summary: 'Pay the October invoice of ACME.',
    payload: {
      amount: 5000,
      currency: 'EUR',
      to: 'ACME GmbH',
      iban: 'DE89370400440532013000',
      invoice: 'INV-2026-0417',
      due: '2026-11-30',
      cost_center: 4711,
    },
    title: 'Pay 5,000.00 EUR to ACME GmbH for invoice INV-2026-0417',
    seen: ['DE89', '0532'],
  },
  email: {
    action: 'email.send',
    summary: 'Confirm the shipment to the customer.',
    payload: {
      to: ['ann@example.com'],
      subject: 'Your order A-1042',
      body: BODY,
      attachments: [{ name: 'invoice.pdf' }],
    },
    title: 'Send an email to ann@example.com: Your order A-1042',
    seen: ['Dear Ann,', 'ACME GmbH'],
  },
  deployment: {
    action: 'deploy.production',
    summary: 'Fixes the login bug; all checks are green.',
    payload: { service: 'web-shop', version: '2026.11.3', environment: 'production', commit: '9f2c1ab', replicas: 6 },
    title: 'Deploy web-shop 2026.11.3 to production',
    seen: ['9f2c1ab'],
  },
  'shell command': {
    action: 'shell.run',
    summary: 'Frees space on the build server.',
    payload: {
      command: 'find /srv/builds -mtime +30 -name "*.tar" -delete && rm -rf /srv/cache/npm',
      host: 'build-2',
      user: 'ci',
    },
    title: 'Run find /srv/builds -mtime +30 -name "*.tar" -delete && rm -rf /srv/cache/npm on build-2',
    seen: ['rm -rf /srv/cache/npm'],
  },
  'thirty refunds': {
    action: 'refunds.create',
    summary: 'Refund everybody of the cancelled tour.',
    payload: { refunds: Array.from({ length: 30 }, (_, at) => ROW(at + 1)) },
    title: 'Make 30 refunds: 468.00 EUR in all',
    seen: ['All 30 lines'],
  },
  'right to left': {
    action: 'payment.send',
    summary: '\u05ea\u05e9\u05dc\u05d5\u05dd \u05d7\u05e9\u05d1\u05d5\u05e0\u05d9\u05ea \u05dc\u05e1\u05e4\u05e7.',
    payload: {
      amount: 12400.5,
      currency: 'ILS',
      to: '\u05d7\u05d1\u05e8\u05ea \u05d0\u05d1\u05d2 \u05d1\u05e2"\u05de',
      reference: '\u0641\u0627\u062a\u0648\u0631\u0629 17',
    },
    title: 'Pay 12,400.50 ILS to \u05d7\u05d1\u05e8\u05ea \u05d0\u05d1\u05d2 \u05d1\u05e2"\u05de',
    seen: ['\u0641\u0627\u062a\u0648\u0631\u0629 17'],
  },
};

let gate;
let browser;

before(async () => {
  [gate, browser] = await Promise.all([startGate(), startBrowser()]);
});
after(async () => {
  await Promise.all([browser?.close(), gate?.stop()]);
});

// A wrapped line comes with line ends of its own.
const oneLine = (text) => text.replace(/\s+/g, ' ').trim();

for (const [name, { title, seen, ...request }] of Object.entries(SIGHTS)) {
  test(`what a reviewer sees of it: ${name}`, async (t) => {
    const approval = await gate.ask(request);
    assert.equal(approval.title, title.replace('@example.com', '@example[.]com'));
    const { subject, text } = await gate.message(approval, 'bob');
    assert.equal(subject, `Approve? ${approval.title}`);
    assert.equal(text.split('\n')[0], approval.title);
    const link = await gate.link(approval, 'bob');
    for (const [device, options] of [
      ['phone', PHONE],
      ['desk', DESK],
    ]) {
      await visit(browser, gate, options, async (page) => {
        const response = await page.goto(link);
        const bytes = (await response.body()).length;
        t.diagnostic(`${name}, ${device}: ${bytes} bytes`);
        assert.ok(bytes < 30_000, `${bytes} bytes`);
        assert.equal(oneLine(await heading(page)), title);
        for (const words of seen) assert.ok(await page.getByText(words).first().isVisible(), words);
        const sizes = await page.evaluate(() => {
          const size = (element) => parseFloat(getComputedStyle(element).fontSize);
          const all = [...document.querySelectorAll('main *')].filter((element) => !element.closest('svg'));
          return { title: size(document.querySelector('h1')), largest: Math.max(...all.map(size)) };
        });
        assert.equal(sizes.title, sizes.largest, 'the title is the largest line');
        for (const choice of ['Approve', 'Reject']) {
          const box = await button(page, choice).first().boundingBox();
          assert.ok(box.y + box.height <= options.viewport.height, `${choice} is on the first screen`);
        }
        assert.equal(await sidewaysPixels(page), 0);
        for (const colorScheme of ['light', 'dark']) {
          await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
          if (SHOTS) await page.screenshot({ path: join(SHOTS, `${name}-${device}-${colorScheme}.png`) });
        }
        await button(page, 'Reject').first().click();
        if (SHOTS) await page.screenshot({ path: join(SHOTS, `${name}-${device}-sheet.png`) });
        assert.deepEqual(await axeViolations(page), []);
      });
    }
  });
}
