// Chromium as a reviewer has it, and a watch over everything that must never happen on a page.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const PHONE = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
};

export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

// Runs `visit` on a fresh page, then fails if anything went wrong unseen: an error or a warning in the console, a
// breach of the content security policy, a request that left the gate, a dialog, a second window.
// `statuses` are answers that the visit provokes; the browser reports them in the console.
export async function visit(browser, { origin }, options, steps) {
  const { statuses = [], ...contextOptions } = options;
  const context = await browser.newContext({ timezoneId: 'UTC', ...contextOptions });
  const faults = [];
  const page = await context.newPage();
  context.on('page', () => faults.push('a second window'));
  page.on('pageerror', (error) => faults.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    return dialog.dismiss();
  });
  page.on('console', (message) => {
    const provoked = statuses.some((status) => message.text().includes(`status of ${status}`));
    if (['error', 'warning'].includes(message.type()) && !provoked) faults.push(`console: ${message.text()}`);
  });
  context.on('request', (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && url.protocol !== 'data:') faults.push(`left the gate: ${url.origin}`);
  });
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy breached: ${event.effectiveDirective} ${event.blockedURI}`);
    });
  });
  try {
    await steps(page);
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
  }
}

// What axe finds wrong with the page as it stands, every part of it opened.
export async function axeViolations(page) {
  await page.evaluate(() => {
    for (const details of document.querySelectorAll('details')) details.open = true;
  });
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
  });
}

// By how many pixels the page is wider than its window.
export function sidewaysPixels(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

export const heading = (page) => page.getByRole('heading', { level: 1 }).innerText();

export const button = (page, name) => page.getByRole('button', { name });
