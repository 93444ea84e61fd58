// Values as Zaps really send them: line items, booleans, dates, numbers and fields that stayed empty.

import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { Gate, type Json } from './gate.js';
import { connect, failure, run } from './platform.js';

let gate: Gate;

before(async () => { gate = await Gate.start(); });
after(async () => { await gate?.stop(); });

async function create(inputData: Record<string, unknown>): Promise<Json> {
  const filledIn = { request_key: `order-${randomUUID()}`, summary: 'Send it.', action: 'refund.large', ...inputData };
  return (await run('creates.create_approval_request.operation.perform', { authData: connect(gate), inputData: filledIn })).results;
}

/** RFC 8785 for values whose names are plain ASCII. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  const sorted = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${sorted.map(([name, inner]) => `${JSON.stringify(name)}:${canonical(inner)}`).join(',')}}`;
}

/** The gate's digest is that of these details. */
async function arrives(inputData: Record<string, unknown>, details: unknown): Promise<void> {
  assert.equal((await create(inputData)).payload_sha256, createHash('sha256').update(canonical(details)).digest('hex'), JSON.stringify(inputData));
}

async function refused(inputData: Record<string, unknown>, words: RegExp): Promise<void> {
  const before = (await gate.requests()).length;
  const { name, message } = await failure(create(inputData));
  assert.equal(name, 'AppError');
  assert.match(message, words, JSON.stringify(inputData));
  // Refused here, and not only by the gate.
  assert.doesNotMatch(message, /^The gate did not take/u);
  assert.equal((await gate.requests()).length, before);
}

test('line items arrive as rows, with numbers as numbers', async () => {
  await arrives(
    { line_items: [{ description: 'Cup', quantity: '2', price: '19.50' }, { description: 'Plate, blue', quantity: 1, price: 7 }] },
    { line_items: [{ description: 'Cup', quantity: 2, price: 19.5 }, { description: 'Plate, blue', quantity: 1, price: 7 }] },
  );
  // A column that nobody filled in is no column; a row that came out wholly empty is no row; a single row may come alone.
  await arrives({ details: { order: '1' }, line_items: [{ description: 'Cup' }, { description: '', quantity: null }, {}] }, { order: '1', line_items: [{ description: 'Cup' }] });
  await arrives({ line_items: { description: 'Cup', quantity: '2' } }, { line_items: [{ description: 'Cup', quantity: 2 }] });
  for (const nothing of [[], null, '', undefined, [{}], [{ description: '' }]]) await arrives({ details: { order: '1' }, line_items: nothing }, { order: '1' });
});

test('lists of different lengths do not slip a price beside another article', async () => {
  await refused({ line_items: [{ description: 'Cup', price: '19.50' }, { description: 'Plate' }] }, /^Price in row 2 of Line Items is empty/u);
  await refused({ line_items: [{ description: 'Cup', price: '' }, { description: 'Plate', price: '3' }] }, /^Price in row 1 of Line Items is empty/u);
  await refused({ line_items: [{ quantity: '1' }, { description: 'Plate', quantity: '1' }] }, /^Description in row 1 of Line Items is empty/u);
  await refused({ line_items: [{ description: 'Cup', quantity: 'two' }] }, /^Quantity in row 1 of Line Items must be a number/u);
  await refused({ line_items: [{ description: { name: 'Cup' } }] }, /^Description in row 1 of Line Items must be a text/u);
  await refused({ line_items: ['Cup', 'Plate'] }, /^Line Items must be rows/u);
  await refused({ line_items: 'Cup,Plate' }, /^Line Items must be rows/u);
  await refused({ line_items: [{ description: 'Cup', vat: '19' }] }, /^Line Items has no field "vat"/u);
  await refused({ details: { line_items: 'x' }, line_items: [{ description: 'Cup' }] }, /"line_items" is in both Details and Line Items/u);
});

test('a text field with line items holds them with commas, as Zapier writes them', async () => {
  const { summary } = await create({ summary: ['Cup', 'Plate', 3], details: { to: 'ada' } });
  assert.equal(summary, 'Cup,Plate,3');
  await arrives({ details: { articles: ['Cup', 'Plate'], rows: [{ sku: 'a', n: 1 }] } }, { articles: ['Cup', 'Plate'], rows: [{ sku: 'a', n: 1 }] });
  await arrives({ numbers: { prices: ['19.50', 7] } }, { prices: [19.5, 7] });
  await refused({ numbers: { prices: ['19.50', 'x'] } }, /"prices" in Numbers must be a number/u);
  await refused({ numbers: { prices: '19.50,7' } }, /"prices" in Numbers must be a number/u);
});

test('booleans arrive as booleans where the builder says so, in every spelling of Zapier', async () => {
  await arrives({ yes_no: { a: true, b: 'true', c: 'True', d: 'yes', e: ' YES ' } }, { a: true, b: true, c: true, d: true, e: true });
  await arrives({ yes_no: { a: false, b: 'false', c: 'False', d: 'no', e: ['yes', false] } }, { a: false, b: false, c: false, d: false, e: [true, false] });
  // In Details, what came is kept: a boolean as one, a word as a word.
  await arrives({ details: { express: true, gift: 'False' } }, { express: true, gift: 'False' });
  for (const value of ['', null, 'maybe', '1', 0, 'ja', 'constructor', '__proto__']) await refused({ yes_no: { express: value } }, /"express" in Yes or No must be true, false, yes or no/u);
  await refused({ yes_no: { amount: 'yes' }, numbers: { amount: '1' } }, /"amount" is in both Numbers and Yes or No/u);
});

test('dates arrive as the text that the trigger gave', async () => {
  const dates = { a: '2026-11-26T10:00:00+01:00', b: '2026-11-26T09:00:00Z', c: '2026-11-26', d: '26.11.2026', e: 'Nov 26, 2026 10:00 AM', f: '1795716862' };
  await arrives({ details: dates }, dates);
});

test('fields that stayed empty are no values', async () => {
  for (const nothing of [undefined, null, '', {}]) {
    await arrives({ details: { to: 'ada' }, numbers: nothing, yes_no: nothing, labels: nothing, details_json: nothing === null || typeof nothing !== 'object' ? nothing : undefined }, { to: 'ada' });
  }
  await arrives({ details: { to: 'ada', note: '', gone: null, '': '' } }, { to: 'ada', note: '', gone: null });
  assert.deepEqual((await create({ details: { to: 'ada' }, labels: { team: 'x', size: 3, urgent: true, none: '' } })).metadata, { team: 'x', size: '3', urgent: 'true', none: '' });
  await refused({ numbers: { amount: '' } }, /"amount" in Numbers must be a number such as 19\.50, but it came out empty/u);
  await refused({ numbers: { amount: null } }, /came out empty/u);
  await refused({ details: { to: 'ada' }, labels: { team: { name: 'x' } } }, /^"team" in Labels must be a text/u);
  await refused({ details: { to: 'ada' }, summary: { text: 'x' } }, /^Summary must be a text/u);
  await refused({ details: { to: 'ada' }, request_key: { order: 1 } }, /^Request Key must be a text/u);
  await refused({ details: { to: 'ada', ' to ': 'eve' } }, /"to" is twice in Details/u);
  await refused({ details: { to: 'ada' }, wait_limit_minutes: { soon: true } }, /^Wait Limit in Minutes must be a text/u);
});

const TOO_LARGE = [
  '9007199254740992', '-9007199254740992', '9007199254740993', '9007199254740993.0', '18446744073709551616', '-9223372036854775809', '100000000000000000001',
  '123456789012345678901234567890', '1E30', '1e30', '1.5e300', '-1e16', '9007199254740992e0', '90071992547409920e-1', '0.9007199254740993e16', '1e400', '-1E+999',
];

for (const number of TOO_LARGE) {
  test(`the whole number ${number} is refused wherever it is written`, async () => {
    await refused({ details_json: `{"n": ${number}}` }, /^Details\.n is beyond 9007199254740991/u);
    await refused({ details_json: `{"deep": [1, {"n": [${number}]}]}` }, /^Details\.deep\[1\]\.n\[0\] is beyond 9007199254740991/u);
    // The field Numbers takes no exponents at all.
    await refused({ numbers: { n: number } }, /"n" in Numbers (has too many digits|must be a number)/u);
    // As a text it is a name like any other.
    await arrives({ details: { n: number } }, { n: number });
  });
}

test('a number that the platform has rounded already is refused as well', async () => {
  await refused({ details: { n: 12345678901234567890 } }, /^Details\.n is beyond 9007199254740991/u);
  await refused({ details: { rows: [{ n: 2 ** 53 }] } }, /^Details\.rows\[0\]\.n is beyond/u);
  await refused({ numbers: { n: 1e21 } }, /must be a number/u);
  await refused({ line_items: [{ quantity: 2 ** 53 }] }, /too many digits/u);
});

test('numbers up to there arrive, in any spelling', async () => {
  await arrives({ numbers: { a: '9007199254740991', b: '-9007199254740991', c: '9007199254740991.0', d: '0019.50', e: '-0' } }, { a: 9007199254740991, b: -9007199254740991, c: 9007199254740991, d: 19.5, e: 0 });
  await arrives({ details_json: '{"a": 9007199254740991, "b": 1e15, "c": 9.007199254740991e15, "d": 0, "e": 0e999, "f": -0.0, "g": 1e-7}' }, { a: 9007199254740991, b: 1e15, c: 9007199254740991, d: 0, e: 0, f: 0, g: 1e-7 });
  await refused({ details_json: '{"n": 1e-400}' }, /so small that it would be read as 0/u);
});

test('a key that is defined twice is refused, also where both say the same, however it is written', async () => {
  for (const json of [
    '{"a": 1, "a": 1}', '{"a": 1, "\\u0061": 1}', '{"b": {"a": 1, "a": 1}}', '[{"a": 1}]', '{"l": [{"a": {}, "b": [], "a": ":"}]}', '{"a"  \n :1,"a":2}', '{"__proto__": 1, "__proto__": 2}',
  ]) {
    await refused({ details_json: json }, /the key `.+` is defined twice|must be one object/u);
  }
  await arrives({ details_json: '{"a": {"a": "a"}, "b": ["a", "a", {"a": 1}, {"a": "\\"a\\": 1"}]}' }, { a: { a: 'a' }, b: ['a', 'a', { a: 1 }, { a: '"a": 1' }] });
});

test('half of a character cannot be sent, and is said', async () => {
  await refused({ details: { name: 'x\ud83d' } }, /half of a character/u);
  await refused({ details_json: '{"name": "\\udc00"}' }, /half of a character/u);
  await refused({ details_json: `{"a": ${'['.repeat(120)}${']'.repeat(120)}}` }, /nested too deeply/u);
});

test('texts are counted in characters', async () => {
  for (const summary of ['🎉'.repeat(500), 'é'.repeat(500), '👩‍👩‍👧‍👦'.repeat(71)]) {
    assert.equal((await create({ summary, details: { to: 'ada' } })).summary, summary);
  }
  await refused({ summary: '🎉'.repeat(501), details: { to: 'ada' } }, /^Summary has 501 characters\. Up to 500 are taken/u);
});

test('a long text of what begins like a token arrives', async () => {
  const long = `${'a'.repeat(20_000)} "${'\\'.repeat(2_000)}" ${'eyJ'.repeat(3_000)}.${'eyJ'.repeat(3_000)}`;
  await arrives({ details: { long } }, { long });
});
