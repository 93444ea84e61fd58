// The asking program lies: nothing that it sends may act, hide or lead away.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PHONE, button, sidewaysPixels, startBrowser, visit } from './browser.js';
import { startGate } from './gate.js';

let gate;
let browser;

before(async () => {
  [gate, browser] = await Promise.all([startGate(), startBrowser()]);
});
after(async () => {
  await Promise.all([browser?.close(), gate?.stop()]);
});

const MARKUP = [
  '<script>document.title = "owned"</script>',
  '"><img src=x onerror="document.title=`owned`">',
  "'><svg onload=\"document.title='owned'\">",
  '</bdi></dd></dl></form><form action="https://evil.example"><button>Approve</button></form>',
  '</style></script><script>document.title = "owned"</script>',
  '<a href="https://evil.example/login">Sign in</a> https://evil.example/login www.evil.example',
  'javascript:document.title="owned"',
  '<meta http-equiv="refresh" content="0;url=https://evil.example">',
];

const inDepth = (levels, inner) => (levels ? { [`level ${levels}`]: inDepth(levels - 1, inner) } : inner);

const show = async (request, steps, options = PHONE) => {
  const approval = await gate.ask(request);
  const link = await gate.link(approval, 'bob');
  await visit(browser, gate, options, async (page) => {
    await page.goto(link);
    await steps(page);
  });
};

// All text of the page, closed parts too.
const wholeText = (page) => page.locator('main').evaluate((main) => main.textContent);

test('markup in a payload runs nothing, links nowhere and makes no second form', async () => {
  const payload = Object.fromEntries(
    MARKUP.flatMap((text, at) => [
      [`field_${at}`, text],
      [text, at],
    ]),
  );
  await show({ payload: { ...payload, nested: { list: MARKUP } }, summary: MARKUP[0] + MARKUP[5] }, async (page) => {
    assert.match(await page.title(), /^Approve\? /);
    assert.equal(await page.locator('a, area, iframe, img, object, embed, base').count(), 0);
    assert.equal(await page.locator('form').count(), 1);
    assert.equal(await page.locator('script').count(), 1);
    assert.equal(await button(page, 'Approve').count(), 1);
    const text = await wholeText(page);
    for (const piece of MARKUP) assert.ok(text.includes(piece), piece);
  });
});

test('hidden and direction-turning characters are seen', async () => {
  const hidden = [
    ...'\u202e\u2066\u200b\u200d\ufeff\u00ad\u2028\u0007\u{e0041}\u3164\u070f\u{110bd}\u{16fe4}\u061c\u115f\u009b\ue000',
  ];
  const payload = Object.fromEntries(hidden.map((character, at) => [`k${at}${character}`, `a${character}b`]));
  await show({ payload, summary: hidden.join('x') }, async (page) => {
    const text = await wholeText(page);
    for (const character of hidden) {
      const code = `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
      assert.ok(text.includes(`a${code}b`), code);
      assert.ok(!text.includes(character), `${code} is not passed on`);
    }
    assert.ok(await page.getByText('stand for hidden characters').isVisible());
  });
});

test('emoji and scripts with joiners stay readable, and a tower of marks is cut down', async () => {
  const honest = [
    '\u{1f469}\u200d\u{1f467}',
    '\u2764\ufe0f',
    '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645',
    '\u0915\u094d\u200d\u0937',
    '\u0e17\u0e35\u0e48',
  ];
  await show({ payload: { honest: honest.join(' '), tower: `o${'\u0301'.repeat(40)}` } }, async (page) => {
    const text = await page.locator('.payload').evaluate((rows) => rows.textContent);
    for (const word of honest) assert.ok(text.includes(word), word);
    assert.ok(text.includes(`o${'\u0301'.repeat(3)}U+0301 \u00d737`), text);
  });
});

test('an address with letters of another alphabet is pointed out', async () => {
  await show({ payload: { to: '\u0430cme@example.com' } }, async (page) => {
    assert.match(await page.getByText('Look closely').innerText(), /U\+0430/);
  });
});

test('padding hides neither the end of a value nor its middle', async () => {
  const note = `Harmless.${' x'.repeat(2000)}delete everything${' y'.repeat(2000)} the end`;
  await show({ payload: { note } }, async (page) => {
    const row = page.locator('.payload dd').first();
    assert.match(await row.innerText(), /^Harmless\.[^]*characters not shown here[^]*the end/);
    await row.getByText(/^Show all [\d,]+ characters$/).click();
    assert.ok((await row.innerText()).includes('delete everything'));
  });
});

test('nothing of a deep, wide and long payload is out of reach', async () => {
  const payload = {
    deep: inDepth(60, { bottom: 'the very bottom' }),
    wide: Object.fromEntries(Array.from({ length: 700 }, (_, at) => [`key ${at}`, `leaf ${at}.`])),
    list: Array.from({ length: 900 }, (_, at) => `item ${at}.`),
    unbroken: 'x'.repeat(9000),
  };
  await show({ payload }, async (page) => {
    const text = await page.locator('.payload').evaluate((rows) => rows.textContent);
    assert.ok(text.includes('the very bottom'));
    for (let at = 0; at < 700; at += 1) assert.ok(text.includes(`leaf ${at}.`));
    for (let at = 0; at < 900; at += 1) assert.ok(text.includes(`item ${at}.`));
    assert.ok(await button(page, 'Approve').isVisible());
  });
});

test('no payload makes a small phone scroll sideways', async () => {
  const payload = {
    unbroken: 'W'.repeat(5000),
    ['K'.repeat(400)]: 1,
    url: `https://example.com/${'a'.repeat(500)}`,
    number: 9007199254740991,
    deep: inDepth(60, ['bottom']),
    list: Array.from({ length: 400 }, () => 'W'.repeat(20)),
    arabic: '\u0645\u0631\u062d\u0628\u0627 '.repeat(40),
    stacked: `o${'\u0301'.repeat(60)}`,
    emoji: '\u{1f469}\u200d\u{1f467}'.repeat(60),
  };
  const summary = 'W'.repeat(500);
  await show(
    { payload, summary },
    async (page) => {
      assert.equal(await sidewaysPixels(page), 0);
      assert.ok((await button(page, 'Approve').boundingBox()).height < 70, 'the word stays whole');
      await page.evaluate(() => {
        for (const details of document.querySelectorAll('details')) details.open = true;
      });
      assert.equal(await sidewaysPixels(page), 0);
    },
    { viewport: { width: 320, height: 568 } },
  );
});

test('the agent\u2019s words stand apart and are marked as unverified', async () => {
  const summary = 'Placet: verified. See https://evil.example/proof';
  await show({ summary }, async (page) => {
    const words = page.getByRole('region', { name: 'In the agent\u2019s own words' });
    assert.equal(await words.locator('blockquote').innerText(), summary);
    assert.match(await words.innerText(), /Not verified, and not part of what is approved/);
    assert.equal(await page.getByText('evil.example').count(), 1);
  });
});
