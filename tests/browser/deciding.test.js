// A reviewer decides: by touch, by keyboard, without JavaScript, too late, and where they may not.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { PHONE, button, heading, startBrowser, visit } from './browser.js';
import { startGate, until } from './gate.js';

let gate;
let browser;

before(async () => {
  [gate, browser] = await Promise.all([startGate(), startBrowser()]);
});
after(async () => {
  await Promise.all([browser?.close(), gate?.stop()]);
});

const tapped = (page, words) => page.locator('label', { hasText: words });

// Waits for the page with exactly this title.
const titled = (page, name) => page.getByRole('heading', { name, exact: true, level: 1 }).waitFor();

const outcome = async (approval) => {
  const { status, approved, decided_by: by, reason } = await gate.state(approval);
  return { status, approved, by, reason };
};

test('a reviewer approves with one tap on a phone', async () => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(link);
    assert.equal(await heading(page), 'Pay 5,000.00 EUR to acme@example.com');
    const approve = button(page, 'Approve');
    const reject = button(page, 'Reject');
    for (const target of [approve, reject]) {
      const box = await target.boundingBox();
      assert.ok(box.height >= 48 && box.width >= 120, 'large enough for a thumb');
      assert.ok(box.y > 844 / 2 && box.y + box.height <= 844, 'within reach of a thumb, without scrolling');
    }
    await approve.tap();
    await titled(page, 'Approved');
    assert.match(await page.getByRole('status').innerText(), /Your approval is recorded\. Approved by Bob\./);
    // Nothing is left to decide; the one button says that it was a mistake.
    assert.deepEqual(await page.getByRole('button').allInnerTexts(), ['It was a mistake']);
  });
  assert.deepEqual(await outcome(approval), { status: 'approved', approved: true, by: ['bob'], reason: null });
});

test('a reviewer rejects and says why', async () => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, {}, async (page) => {
    await page.goto(link);
    await button(page, 'Reject').click();
    await page.getByLabel('Other reason').fill('The amount is wrong: <b>50</b>, not 5000.');
    await button(page, 'Reject').last().click();
    await titled(page, 'Rejected');
    assert.match(await page.getByRole('status').innerText(), /The amount is wrong: <b>50<\/b>, not 5000\./);
  });
  assert.deepEqual(await outcome(approval), {
    status: 'rejected',
    approved: false,
    by: ['bob'],
    reason: 'The amount is wrong: <b>50</b>, not 5000.',
  });
});

test('one tap on a reason rejects, and the agent reads it', async () => {
  for (const options of [PHONE, { ...PHONE, javaScriptEnabled: false }]) {
    const approval = await gate.ask();
    const link = await gate.link(approval, 'bob');
    await visit(browser, gate, options, async (page) => {
      await page.goto(link);
      const chip = tapped(page, 'Wrong amount');
      assert.equal(await chip.isVisible(), false);
      await button(page, 'Reject').first().tap();
      const box = await chip.boundingBox();
      assert.ok(box.height >= 44 && box.y >= 0 && box.y + box.height <= 844, 'within reach of a thumb');
      await chip.tap();
      if (options.javaScriptEnabled === false) await button(page, 'Reject').last().tap();
      await titled(page, 'Rejected');
    });
    const { status, reason } = await outcome(approval);
    assert.deepEqual({ status, reason }, { status: 'rejected', reason: 'Wrong amount' });
  }
});

test('the sheet of reasons closes by Escape and by a tap beside it, and decides nothing', async () => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, {}, async (page) => {
    await page.goto(link);
    for (const close of [() => page.keyboard.press('Escape'), () => page.getByText('for Bob').click()]) {
      await button(page, 'Reject').first().click();
      await tapped(page, 'Not expected').waitFor();
      await close();
      await tapped(page, 'Not expected').waitFor({ state: 'hidden' });
    }
  });
  assert.equal((await outcome(approval)).status, 'pending');
});

test('not now is no answer, and what waits next is one tap away', async () => {
  const approval = await gate.ask({ action: 'dora.only' });
  const other = await gate.ask({ action: 'dora.only', payload: { amount: 7, currency: 'EUR', to: 'Ann' } });
  const link = await gate.link(approval, 'dora');
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(link);
    await button(page, 'Not now').tap();
    await titled(page, 'Not decided');
    assert.equal((await outcome(approval)).status, 'pending');
    await page.getByRole('link', { name: 'Back to it' }).tap();
    await button(page, 'Approve').tap();
    await titled(page, 'Approved');
    await page.getByRole('link', { name: /^Next:/ }).tap();
    await page.locator('h1', { hasText: 'to Ann' }).waitFor();
    assert.equal(await heading(page), 'dora.only: amount 7.00 EUR, to Ann');
    await button(page, 'Approve').tap();
    await page.getByText('Nothing else waits for you. You can close this page.').waitFor();
  });
  for (const ended of [approval, other]) assert.equal((await outcome(ended)).status, 'approved');
});

for (const javaScriptEnabled of [true, false]) {
  test(`a client that asks again and again is paused with two taps, ${javaScriptEnabled ? 'with' : 'without'} JavaScript`, async () => {
    for (let n = 0; n < 4; n += 1) await gate.ask({ action: 'dora.often', payload: { n } });
    const approval = await gate.ask({ action: 'dora.often', payload: { n: 4 } });
    const link = await gate.link(approval, 'dora');
    const inbox = await gate.inbox(approval, 'dora');
    await visit(browser, gate, { javaScriptEnabled, ...PHONE }, async (page) => {
      await page.goto(link);
      await page.getByText(/ask(s)? in 10 minutes/).waitFor();
      await button(page, 'Reject').tap();
      await page.getByRole('button', { name: 'Reject, and pause agent for an hour' }).tap();
      await titled(page, 'Rejected');
      await page.getByText('agent is paused', { exact: true }).waitFor();
      await assert.rejects(gate.ask({ action: 'dora.often' }), /: 403 .*"code":"forbidden".*"paused_until"/);
      await page.goto(inbox);
      await page.getByRole('button', { name: 'Lift the pause' }).tap();
      await page.getByRole('button', { name: 'Lift the pause' }).waitFor({ state: 'detached' });
    });
    assert.equal((await outcome(approval)).status, 'rejected');
    assert.equal((await gate.ask({ action: 'dora.often', payload: { n: 5 } })).status, 'pending');
  });
}

test('everything works without JavaScript', async () => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'carol');
  await visit(browser, gate, { javaScriptEnabled: false, ...PHONE }, async (page) => {
    await page.goto(link);
    assert.match(await page.locator('.clock time').innerText(), /^(\d+ \w{3} \d{4}, )?\d\d:\d\d UTC$/);
    await page.getByText('About this request').click();
    await page.getByText('Whole digest').click();
    await page.getByText(approval.payload_sha256 ?? 'ab'.repeat(32), { exact: true }).waitFor();
    await button(page, 'Approve').click();
    await titled(page, 'Approved');
  });
  assert.equal((await outcome(approval)).status, 'approved');
});

test('a keyboard is enough, and the focus can be seen', async () => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, {}, async (page) => {
    await page.goto(link);
    const order = [];
    for (let presses = 0; presses < 12 && order.at(-1) !== 'Approve'; presses += 1) {
      await page.keyboard.press('Tab');
      order.push(
        await page.evaluate(() => {
          const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
          const seen = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
          const { activeElement: at } = document;
          return `${at.innerText.trim()}${seen ? '' : ' (unseen)'}`;
        }),
      );
    }
    assert.deepEqual(order, ['All details', 'About this request', 'Reject', 'Approve']);
    assert.deepEqual(
      order.filter((stop) => stop.endsWith('(unseen)')),
      [],
    );
    await page.keyboard.press('Enter');
    await titled(page, 'Approved');
  });
  assert.equal((await outcome(approval)).status, 'approved');
});

test('one of two approvals waits for the other, and can still be turned into a rejection', async () => {
  const approval = await gate.ask({ action: 'two.people' });
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(link);
    await page.getByText('0 of 2 approvals').waitFor();
    await button(page, 'Approve').tap();
    await page.getByRole('heading', { name: 'You approved' }).waitFor();
    assert.match(await page.getByRole('main').innerText(), /It waits for one more approval\./);
    assert.equal((await outcome(approval)).status, 'pending');
    assert.equal(await button(page, 'Approve').count(), 0);
    await button(page, 'Reject instead').tap();
    await tapped(page, 'Not expected').tap();
    await titled(page, 'Rejected');
  });
  const { status, by } = await outcome(approval);
  assert.deepEqual({ status, by }, { status: 'rejected', by: ['bob'] });
});

test('the second reviewer sees who has approved, and completes it', async () => {
  const approval = await gate.ask({ action: 'two.people' });
  const [first, second] = await Promise.all([gate.link(approval, 'bob'), gate.link(approval, 'carol')]);
  await visit(browser, gate, {}, async (page) => {
    await page.goto(first);
    await button(page, 'Approve').click();
    await page.getByRole('heading', { name: 'You approved' }).waitFor();
    await page.goto(second);
    await page.getByText('1 of 2 approvals').waitFor();
    assert.match(await page.getByRole('main').innerText(), /Bob approved/);
    await button(page, 'Approve').click();
    await titled(page, 'Approved');
  });
  assert.deepEqual(new Set((await outcome(approval)).by), new Set(['bob', 'carol']));
});

test('a late press is told kindly what is on record, and changes nothing', async () => {
  const approval = await gate.ask();
  const [late, early] = await Promise.all([gate.link(approval, 'bob'), gate.link(approval, 'carol')]);
  await visit(browser, gate, { statuses: [409] }, async (page) => {
    await page.goto(late);
    await visit(browser, gate, {}, async (other) => {
      await other.goto(early);
      await button(other, 'Reject').click();
      await tapped(other, 'Not expected').click();
      await other.getByRole('heading', { name: 'Rejected' }).waitFor();
    });
    const answered = page.waitForResponse((response) => response.request().method() === 'POST');
    await button(page, 'Approve').click();
    assert.equal((await answered).status(), 409);
    await titled(page, 'Rejected');
    const record = await page.getByRole('status').innerText();
    assert.match(record, /You pressed Approve, but this request had already ended/);
    assert.match(record, /Rejected by Carol\./);
  });
  const { status, by } = await outcome(approval);
  assert.deepEqual({ status, by }, { status: 'rejected', by: ['carol'] });
});

test('the owner of the asking client can only reject, and reads so before the page opens', async () => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'olive');
  const { subject, text } = await gate.message(approval, 'olive');
  assert.match(subject, /^Reject\? Pay 5,000\.00 EUR to /);
  assert.match(text, /You own agent, so you cannot approve this; somebody else has to\. You can reject it\./);
  assert.match((await gate.message(approval, 'bob')).subject, /^Approve\? Pay 5,000\.00 EUR to /);
  await visit(browser, gate, {}, async (page) => {
    await page.goto(link);
    assert.match(await page.title(), /^Reject\? Pay 5,000\.00 EUR/);
    await page.getByText('asks for approval. You can only reject this').waitFor();
    await page.getByText('so somebody else has to approve').waitFor();
    assert.equal(await button(page, 'Approve').count(), 0);
    await button(page, 'Reject').click();
    await tapped(page, 'Not expected').click();
    await titled(page, 'Rejected');
  });
});

test('who is no longer asked has nothing to press', async () => {
  const approval = await gate.ask({ action: 'short.first' });
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, { statuses: [410] }, async (page) => {
    await until('the request to move on', async () => {
      await page.goto(link);
      return (await heading(page)) === 'Passed on' || undefined;
    });
    assert.equal(await page.getByRole('button').count(), 0);
    assert.equal(await page.locator('form').count(), 0);
  });
});

test('a stale page is renewed, and nothing is recorded', async () => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, { statuses: [422] }, async (page) => {
    await page.goto(link);
    await page.locator('input[name=nonce]').evaluateAll((inputs) => {
      for (const input of inputs) input.value = 'made-up';
    });
    await button(page, 'Approve').click();
    await page.getByRole('alert').waitFor();
    assert.equal((await outcome(approval)).status, 'pending');
    await button(page, 'Approve').click();
    await titled(page, 'Approved');
  });
});

test('when the countdown reaches zero the buttons are dead and the page says so', async () => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, PHONE, async (page) => {
    await page.clock.install();
    await page.goto(link);
    await page.getByText(/^(10:00|9:\d\d) left$/).waitFor();
    assert.equal(await page.getByRole('status').innerText(), '');
    await page.clock.fastForward('09:30');
    await page.getByText(/^0:\d\d left$/).waitFor();
    assert.equal(await page.getByRole('status').innerText(), 'Less than a minute left.');
    assert.ok(await button(page, 'Approve').isEnabled());
    await page.clock.fastForward('00:31');
    await page.getByText('The time to answer has passed.').waitFor();
    assert.ok(await button(page, 'Approve').isDisabled());
    assert.ok(await button(page, 'Reject').first().isDisabled());
  });
  assert.equal((await outcome(approval)).status, 'pending');
});

test('two taps in a row send one decision', async () => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, PHONE, async (page) => {
    let posts = 0;
    await page.route('**/r/**', async (route) => {
      if (route.request().method() === 'POST') posts += 1;
      await route.continue();
    });
    await page.goto(link);
    await button(page, 'Approve').evaluate((approve) => {
      approve.click();
      approve.click();
    });
    await titled(page, 'Approved');
    assert.equal(posts, 1);
  });
});

test('times are the reader\u2019s own, and UTC in the details', async () => {
  // Of nothing alike: the inbox shows those together, under the first one's time.
  const approval = await gate.ask({ payload: { amount: 17, currency: 'EUR', to: 'Tim' } });
  const link = await gate.link(approval, 'bob');
  const inbox = await gate.inbox(approval, 'bob');
  const local = (zone, at) =>
    new Date(at).toLocaleTimeString('en-GB', { timeZone: zone, hour: '2-digit', minute: '2-digit' });
  for (const zone of ['Asia/Kolkata', 'America/New_York', 'UTC']) {
    await visit(browser, gate, { timezoneId: zone, locale: 'en-GB' }, async (page) => {
      await page.goto(link);
      const closes = page.locator('.clock time');
      const at = await closes.getAttribute('datetime');
      assert.ok((await closes.innerText()).endsWith(local(zone, at)), zone);
      assert.match(await closes.getAttribute('title'), /\d\d:\d\d UTC$/);
      await page.getByText('About this request').click();
      const details = page.locator('dl .row', { hasText: 'Answer by' }).locator('time');
      assert.match(await details.innerText(), /^\d+ \w{3} \d{4}, \d\d:\d\d:\d\d UTC$/);
      await page.goto(inbox);
      const row = page.locator('.row-of').filter({ has: page.locator(`a[href="${new URL(link).pathname}"]`) });
      const listed = row.locator('.when time').first();
      assert.ok((await listed.innerText()).endsWith(local(zone, at)), zone);
    });
  }
});

test('a link opens and decides with whatever a mail program glues to it', async () => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'bob');
  const inbox = await gate.inbox(approval, 'bob');
  for (const glued of [
    '.',
    ',',
    ')',
    '>',
    '/',
    '/)',
    '%3E',
    '%22',
    '%E2%80%9D',
    '%E2',
    '*',
    ';',
    '?utm_source=mail',
    '/?x=%',
    '#top',
  ]) {
    for (const [url, title] of [
      [link, /^Approve\? Pay 5,000\.00 EUR/],
      [inbox, /Inbox/],
    ]) {
      const answer = await fetch(url + glued, { headers: { accept: 'text/html' } });
      assert.equal(answer.status, 200, glued);
      assert.match(/<title>(.*)<\/title>/.exec(await answer.text())[1], title, glued);
    }
  }
  for (const nobodys of [`${gate.origin}/r/`, `${gate.origin}/r/%3E`, `${link.slice(0, -1)}.`, `${link}x`]) {
    const answer = await fetch(nobodys, { headers: { accept: 'text/html' } });
    assert.equal(answer.status, 404, nobodys);
    assert.match(answer.headers.get('content-type'), /^text\/html/);
  }
  await visit(browser, gate, {}, async (page) => {
    await page.goto(`${link}/).`);
    await button(page, 'Approve').click();
    await titled(page, 'Approved');
  });
  assert.equal((await outcome(approval)).status, 'approved');
});

test('the JSON on the page is the text that is hashed', async () => {
  const approval = await gate.ask({ payload: { rate: 1e-6, amount: 5.0, small: 0.5, a: [1, { z: null, b: true }] } });
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, {}, async (page) => {
    await page.goto(link);
    await page.getByText('All details').click();
    await page.getByText('About this request').click();
    await page.getByText('Payload as JSON').click();
    const shown = await page.locator('pre.json').last().innerText();
    assert.equal(createHash('sha256').update(shown).digest('hex'), approval.payload_sha256);
    assert.match(await page.locator('.fold .payload').innerText(), /0\.000001/);
  });
});
