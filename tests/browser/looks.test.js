// Every state of the pages, light and dark: accessible, never wider than the phone, and small.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { axeViolations, button, heading, sidewaysPixels, startBrowser, visit } from './browser.js';
import { startGate, until } from './gate.js';

const MOST_BYTES = 30_000;

let gate;
let browser;

before(async () => {
  [gate, browser] = await Promise.all([startGate(), startBrowser()]);
});
after(async () => {
  await Promise.all([browser?.close(), gate?.stop()]);
});

const opened = async (page, request, reviewer = 'bob') => {
  const approval = await gate.ask(request);
  await page.goto(await gate.link(approval, reviewer));
  return approval;
};

const decided = async (page, choice, outcome) => {
  await opened(page);
  await button(page, choice).first().click();
  if (choice === 'Reject') await page.locator('label', { hasText: 'Not expected' }).click();
  await page.getByRole('heading', { name: outcome }).waitFor();
};

const NESTED = {
  amount: 1250000.5,
  currency: 'EUR',
  to: '\u0430cme@example.com',
  items: [
    { id: 1, price: 9.5 },
    { id: 2, price: 100000 },
  ],
  note: `start ${'x'.repeat(2000)} end`,
  hidden: 'a\u202eb',
  list: Array.from({ length: 60 }, (_, at) => at),
  empty: {},
  none: null,
};

const STATES = {
  open: (page) => opened(page),
  'open with a rich payload': (page) => opened(page, { payload: NESTED }),
  'open for the owner': (page) => opened(page, {}, 'olive'),
  voted: async (page) => {
    await opened(page, { action: 'two.people' });
    await button(page, 'Approve').click();
    await page.getByRole('heading', { name: 'You approved' }).waitFor();
  },
  approved: (page) => decided(page, 'Approve', 'Approved'),
  rejected: (page) => decided(page, 'Reject', 'Rejected'),
  'with the sheet of reasons': async (page) => {
    await opened(page);
    await button(page, 'Reject').click();
  },
  'not now': async (page) => {
    await opened(page);
    await button(page, 'Not now').click();
    await page.getByRole('heading', { name: 'Not decided' }).waitFor();
  },
  withdrawn: async (page) => {
    const approval = await opened(page);
    await gate.cancel(approval);
    await page.reload();
    assert.equal(await heading(page), 'Withdrawn');
  },
  late: async (page) => {
    const approval = await opened(page);
    await gate.cancel(approval);
    await button(page, 'Approve').click();
    await page.getByText('had already ended').waitFor();
  },
  expired: async (page) => {
    const approval = await opened(page, { timeout_seconds: 1 });
    await until('the request to expire', async () => {
      const { status } = await gate.state(approval);
      return status === 'expired' || undefined;
    });
    await page.reload();
    assert.equal(await heading(page), 'Expired');
  },
  'moved on': async (page) => {
    const approval = await gate.ask({ action: 'short.first' });
    const link = await gate.link(approval, 'bob');
    await until('the request to move on', async () => {
      await page.goto(link);
      return (await heading(page)) === 'Passed on' || undefined;
    });
  },
  inbox: async (page) => {
    const approval = await gate.ask({ payload: NESTED });
    await page.goto(await gate.inbox(approval, 'bob'));
    await page.getByRole('link').first().waitFor();
  },
  'unknown link': (page) => page.goto(`${gate.origin}/r/nobodyhasthislink`),
};

for (const [state, reach] of Object.entries(STATES)) {
  test(`axe finds nothing wrong and nothing sticks out, light and dark: ${state}`, async () => {
    const options = { viewport: { width: 320, height: 640 }, statuses: [404, 409, 410] };
    await visit(browser, gate, options, async (page) => {
      await reach(page);
      assert.equal(await sidewaysPixels(page), 0);
      assert.equal(await page.locator('html').getAttribute('lang'), 'en');
      assert.notEqual(await page.title(), '');
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        assert.deepEqual(await axeViolations(page), [], colorScheme);
      }
    });
  });
}

test('an ordinary page weighs less than 30 kB and is one request', async (t) => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, {}, async (page) => {
    const requests = [];
    page.on('request', (request) => {
      if (!request.url().startsWith('data:')) requests.push(request.url());
    });
    const response = await page.goto(link, { waitUntil: 'networkidle' });
    const bytes = (await response.body()).length;
    t.diagnostic(`review page: ${bytes} bytes, ${requests.length} request`);
    assert.ok(bytes < MOST_BYTES, `${bytes} bytes`);
    assert.deepEqual(requests, [link]);
  });
});

test('nobody who only looks can be counted as having decided', async () => {
  const approval = await gate.ask();
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, {}, async (page) => {
    await page.goto(link);
    await page.reload();
    await page.goto(`${link}?decision=approve`);
    assert.equal((await gate.state(approval)).status, 'pending');
  });
});
