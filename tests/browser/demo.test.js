// The page of `placet demo`: a chat and a phone side by side. Whoever decides in one sees it in the other.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { BINARY } from '../testgate/testgate.js';
import { PHONE, axeViolations, sidewaysPixels, startBrowser, visit } from './browser.js';

const DESK = { viewport: { width: 1100, height: 950 } };

let browser;

before(async () => {
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
});

// A running demo: the address of its page, and its exit code with what it printed.
async function startDemo() {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PLACET')));
  const child = spawn(BINARY, ['demo'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  const url = await new Promise((found, failed) => {
    child.stdout.on('data', (chunk) => {
      printed += chunk;
      const link = /http:\S+\/demo\/\w+/u.exec(printed)?.[0];
      if (link) found(link);
    });
    child.on('exit', () => failed(new Error(printed)));
  });
  const ended = once(child, 'exit').then(([code]) => ({ code, printed }));
  return { url, origin: new URL(url).origin, ended, stop: () => child.kill() };
}

const both = (page) => [page.frameLocator('iframe.chat'), page.frameLocator('iframe.phone')];

async function withDemo(options, steps) {
  const demo = await startDemo();
  try {
    await visit(browser, demo, options, (page) => steps(page, demo));
  } finally {
    demo.stop();
    await demo.ended;
  }
}

for (const colorScheme of ['light', 'dark']) {
  test(`both are shown, accessible, on a phone and at a desk, ${colorScheme}`, async () => {
    for (const options of [DESK, PHONE]) {
      await withDemo({ ...options, colorScheme }, async (page, demo) => {
        await page.goto(demo.url);
        const [chat, phone] = both(page);
        await chat.getByRole('button', { name: 'Approve' }).waitFor();
        await chat.getByRole('heading', { level: 2 }).getByText('5,000').waitFor();
        await phone.getByRole('button', { name: 'Approve' }).waitFor();
        if (process.env.PLACET_PICTURES) {
          const path = `${process.env.PLACET_PICTURES}/demo-${colorScheme}-${options.viewport.width}.png`;
          await page.screenshot({ path, fullPage: true });
        }
        assert.deepEqual(await axeViolations(page), []);
        assert.equal(await sidewaysPixels(page), 0);
        for (const frame of page.frames().filter((one) => one !== page.mainFrame())) {
          assert.deepEqual(await axeViolations(frame), [], frame.url());
        }
      });
    }
  });
}

test('a press in the chat is a decision: the phone shows it, and the demo ends', async () => {
  await withDemo(DESK, async (page, demo) => {
    await page.goto(demo.url);
    const [chat, phone] = both(page);
    await chat.getByRole('textbox', { name: 'Reason' }).fill('as agreed');
    await chat.getByRole('button', { name: 'Approve' }).click();
    await phone.getByRole('heading', { name: 'Approved' }).waitFor();
    await chat.getByText('approved').first().waitFor();
    assert.equal(await chat.getByRole('button').count(), 0);
    const { code, printed } = await demo.ended;
    assert.equal(code, 0, printed);
    assert.match(printed, /approved by bob.*as agreed/su);
  });
});

test('a decision on the phone is seen in the chat', async () => {
  await withDemo(DESK, async (page, demo) => {
    await page.goto(demo.url);
    const [chat, phone] = both(page);
    await chat.getByRole('button', { name: 'Approve' }).waitFor();
    await phone.getByRole('button', { name: 'Approve' }).click();
    await chat
      .getByText(/approved/iu)
      .first()
      .waitFor();
    assert.equal(await chat.getByRole('button').count(), 0);
    assert.equal((await demo.ended).code, 0);
  });
});

test('nobody else finds the page, and its chat takes no other caller', async () => {
  const demo = await startDemo();
  try {
    for (const path of ['/demo/', `${new URL(demo.url).pathname}0`, '/demo/slack', '/demo/x/chat', '/demo/x/version']) {
      assert.equal((await fetch(demo.origin + path)).status === 200, false, path);
    }
    const pressed = await fetch(`${demo.origin}/demo/x/chat`, { method: 'POST', body: 'action=placet.approve' });
    assert.equal(pressed.status, 404);
    const post = await fetch(`${demo.origin}/demo/slack/chat.update`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer xoxb-guessed' },
      body: '{"blocks":[]}',
    });
    assert.deepEqual(await post.json(), { ok: false, error: 'invalid_auth' });
    const version = await (await fetch(`${demo.url}/version`)).text();
    assert.match(version, /-open$/u);
  } finally {
    demo.stop();
    await demo.ended;
  }
});
