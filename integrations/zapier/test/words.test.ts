// What the reviewer sees is what was asked: text arrives unchanged, and numbers as they were written.

import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { Gate, type Json } from './gate.js';
import { connect, failure, run } from './platform.js';

let gate: Gate;

before(async () => { gate = await Gate.start(); });
after(async () => { await gate?.stop(); });

const newKey = () => `order-${randomUUID()}`;

async function create(inputData: Record<string, unknown>): Promise<Json> {
  const told = ['details', 'numbers', 'yes_no', 'line_items', 'details_json'].some((key) => key in inputData);
  const filledIn = { request_key: newKey(), summary: 'Send it.', ...(told ? {} : { details: { to: 'ada' } }), ...inputData };
  return (await run('creates.create_approval_request.operation.perform', { authData: connect(gate), inputData: filledIn })).results;
}

/** RFC 8785 for values whose names are plain ASCII: JavaScript's own JSON with sorted names. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  const sorted = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${sorted.map(([name, inner]) => `${JSON.stringify(name)}:${canonical(inner)}`).join(',')}}`;
}

const digest = (value: unknown) => createHash('sha256').update(canonical(value)).digest('hex');

const TEXTS = {
  'braces': 'Dear {{name}}, {{ 7*7 }} {{{three}}} {{{{four}}}} }} {{',
  'the platform\'s own braces': '{{bundle.authData.client_secret}} and {{process.env.HOME}} and {{ bundle.inputData.summary }}',
  'braces after a backslash': '\\{{ \\\\{{ "{{" \\u007b{',
  'emoji and other alphabets': '🎉👩‍👩‍👧‍👦 Żółć 承認 مرحبا',
  'line separators': 'one\ntwo\r\nthree\u2028four\u2029five\ttab',
  'spaces around': '  two before, two after  ',
  'HTML and quotes': '<b>"it\'s"</b> & <script>alert(1)</script>',
  'a number as a text': '0012.50',
};

for (const [name, words] of Object.entries(TEXTS)) {
  test(`${name}: summary, details, labels and JSON arrive unchanged`, async () => {
    const output = await create({ summary: words, details: { text: words, [words]: 'as a name' }, labels: { note: words } });
    assert.deepEqual([output.summary, output.metadata], [words, { note: words }]);
    assert.equal(output.payload_sha256, digest({ text: words, [words]: 'as a name' }));
    const asJson = await create({ summary: words, details_json: JSON.stringify({ deep: [{ text: words }] }, undefined, 2) });
    assert.equal(asJson.payload_sha256, digest({ deep: [{ text: words }] }));
  });
}

test('the review page shows the words that were asked', async () => {
  const asked = await create({ action: 'mail.send', details: { text: 'Dear {{name}}, 承認 🎉 {{ 7*7 }}' } });
  const { html } = await gate.page(asked.approval_id);
  assert.ok(html.replaceAll('&#123;', '{').includes('Dear {{name}}, 承認 🎉 {{ 7*7 }}'), html);
});

test('long values arrive whole, and too long ones are refused rather than cut', async () => {
  const long = 'Ж🎉{{x}}'.repeat(4000).slice(0, 30_000);
  assert.equal((await create({ details: { long } })).payload_sha256, digest({ long }));
  const summary = '🎉'.repeat(500);
  assert.equal((await create({ summary })).summary, summary);
  assert.deepEqual(await failure(create({ details: { long: 'x'.repeat(70_000) } })), {
    name: 'AppError', code: 'payload_too_large', status: 413,
    message: 'Details are too long: the gate takes up to 64 KiB. Send less, or a link to the rest.',
  });
  const tooLong = await failure(create({ summary: 'x'.repeat(501) }));
  assert.match(tooLong.message, /^Summary has 501 characters\. Up to 500 are taken/u);
});

test('numbers are numbers for the rules', async () => {
  const output = await create({ action: 'refund.create', details: { to: 'ada' }, numbers: { amount: ' 19.50 ', weeks: '-3', ratio: '0.000000000000001' } });
  assert.deepEqual([output.status, output.rule], ['approved', 'small refunds']);
  assert.equal(output.payload_sha256, digest({ to: 'ada', amount: 19.5, weeks: -3, ratio: 1e-15 }));
  assert.equal((await create({ action: 'refund.create', numbers: { amount: 20.01 } })).status, 'pending');
});

for (const [amount, words] of [
  ['19,50', /must be a number such as 19\.50, not "19,50"/u],
  ['€ 20', /must be a number/u],
  ['', /must be a number/u],
  ['1e3', /must be a number/u],
  ['0x10', /must be a number/u],
  ['12345678901234567', /too many digits/u],
  ['0.1000000000000000055', /too many digits/u],
] as const) {
  test(`"${amount}" is not taken for a number`, async () => {
    const { name, message } = await failure(create({ numbers: { amount } }));
    assert.equal(name, 'AppError');
    assert.match(message, words);
  });
}

test('details that could be read in two ways are refused', async () => {
  for (const [inputData, words] of [
    [{ details: { amount: 'x' }, numbers: { amount: '1' } }, /"amount" is in both Details and Numbers/u],
    [{ details: { a: 'x' }, details_json: '{}' }, /but not both/u],
    [{ details_json: '[1]' }, /must be one object/u],
    [{ details_json: '{"a": }' }, /is not JSON/u],
    // The gate judges the text as it was written, not what a parser made of it.
    [{ details_json: '{"amount": 1, "amount": 1000}' }, /the key `amount` is defined twice/u],
    [{ details_json: '{"amount": 12345678901234567890}' }, /Details\.amount/u],
    [{ details: 'just a text' }, /must be pairs/u],
  ] as const) {
    assert.match((await failure(create(inputData))).message, words);
  }
});

test('details that look like JavaScript are only details', async () => {
  const written = '{"__proto__": {"approved": true}, "constructor": "x"}';
  const output = await create({ details_json: written });
  assert.equal(output.payload_sha256, digest(JSON.parse(written)));
  const pairs = JSON.parse('{"__proto__": "x"}') as Record<string, unknown>;
  assert.equal((await create({ details: pairs })).payload_sha256, digest(pairs));
});

test('a key that cannot be a name in the gate is found again under the same words', async () => {
  for (const request_key of ['Order 1001 / größe', 'x'.repeat(300), '  padded  ', 'a/../b?c=d#e', '.', '..', '...']) {
    const asked = await create({ request_key });
    assert.match(asked.request_id, /^[A-Za-z0-9._:-]{1,128}$/u);
    const found = await run('searches.find_approval.operation.perform', { authData: connect(gate), inputData: { request_key } });
    assert.equal(found.results[0].approval_id, asked.approval_id);
  }
  assert.match((await failure(create({ request_key: '   ' }))).message, /^Request Key is empty/u);
});

test('a wait limit outside of one minute to 28 days is refused', async () => {
  for (const minutes of ['0', '-5', '1.5', 'soon', 40_321]) {
    assert.match((await failure(create({ wait_limit_minutes: minutes }))).message, /from 1 to 40320/u);
  }
  const { created_at: asked, deadline } = await create({ wait_limit_minutes: '40320' });
  assert.equal((Date.parse(deadline) - Date.parse(asked)) / 86_400_000, 28);
});
