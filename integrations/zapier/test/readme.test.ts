// Every example of the README, run against the policy that `placet init` writes with the clients that the README adds.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { Gate, type Json, Receiver, initialPolicy } from './gate.js';
import { META, app, connect, failure, posted, run } from './platform.js';

const at = (path: string) => new URL(`../../${path}`, import.meta.url);
const { README, blocks, section, workedZap } = (await import(at('scripts/readme.js').href)) as Json;
const { DEFINITION, pictures } = (await import(at('scripts/pictures.js').href)) as Json;

let gate: Gate;
let receiver: Receiver;

before(async () => {
  const clients: string[] = blocks(README, 'toml').filter((block: string) => block.startsWith('[[clients]]'));
  assert.equal(clients.length, 2);
  // The tests' callbacks come back to this machine, where Zapier's go to an address of its own.
  const reachable = clients.map((client) => client.replace(/^(id = .*)$/mu, '$1\ncallback_hosts = ["127.0.0.1"]'));
  gate = await Gate.start([initialPolicy(), ...reachable].join('\n'));
  receiver = await Receiver.start();
});
after(async () => { await Promise.all([gate?.stop(), receiver?.stop()]); });

/** The values of the form, where the builder mapped them: Zapier hands on both. */
function filledIn(step: Json, form: Record<string, string>): { inputData: Json; inputDataRaw: Json } {
  const put = (value: Json): Json =>
    typeof value === 'string'
      ? value.replaceAll(/\{\{\d\. ([\w ]+)\}\}/gu, (_, name: string) => form[name] ?? assert.fail(`the form has no ${name}`))
      : Object.fromEntries(Object.entries(value as object).map(([name, one]) => [name, put(one)]));
  const fields = step.operation.inputFields as Json[];
  const written = Object.entries(workedZap(README)[step.display.label] as Record<string, Json>).map(([label, value]) => {
    const field = fields.find((one) => one.label === label) ?? assert.fail(`${step.display.label} has no field "${label}"`);
    return [field.key, field.choices?.find((choice: Json) => choice.label === value)?.value ?? value] as const;
  });
  return { inputData: Object.fromEntries(written.map(([key, value]) => [key, put(value)])), inputDataRaw: Object.fromEntries(written) };
}

const FORM = { Order: '1001', Email: 'ada@example.com', Amount: '250.00', Reason: 'the cup was broken' };

/** The worked Zap's step 2, in a run of its own. */
class Run {
  readonly callbackUrl = receiver.callbackUrl();
  readonly bundle: Json;

  constructor(form: Partial<typeof FORM> = {}, more: Record<string, unknown> = {}) {
    const { inputData, inputDataRaw } = filledIn(app.creates.request_approval, { ...FORM, ...form });
    this.bundle = { authData: connect(gate), inputData: { ...inputData, ...more }, inputDataRaw: { ...inputDataRaw, ...more } };
  }

  async ask(): Promise<{ results: Json; status: string }> {
    return run('creates.request_approval.operation.perform', this.bundle, this.callbackUrl);
  }

  async resume(waiting: Json): Promise<Json> {
    const post = posted(await receiver.waitAt(this.callbackUrl));
    return (await run('creates.request_approval.operation.performResume', { ...this.bundle, outputData: waiting, ...post })).results;
  }
}

test('the worked Zap: a large refund waits for finance, and goes on after a yes', async () => {
  const zap = new Run();
  const { results: waiting, status } = await zap.ask();
  assert.deepEqual([status, waiting.status, waiting.request_id, waiting.rule], ['CALLBACK', 'pending', 'refund-1001', 'payments']);
  assert.equal(waiting.summary, 'Refund order 1001 to ada@example.com: the cup was broken');
  const details = '{"amount":250,"currency":"EUR","order":"1001","to":"ada@example.com"}';
  assert.equal(waiting.payload_sha256, createHash('sha256').update(details).digest('hex'));
  await gate.decide(waiting.approval_id, 'approve');
  const output = await zap.resume(waiting);
  assert.deepEqual([output.approved, output.token_valid, output.token_first_use], [true, true, true]);
  // The same refund in another run is stopped.
  assert.equal((await failure(new Run().ask())).name, 'HaltedError');
});

test('the worked Zap: up to 20 EUR is paid at once, and a no stops', async () => {
  const small = new Run({ Order: '1002', Amount: '20' });
  const { results } = await small.ask();
  assert.equal(results.status, 'approved');
  assert.equal((await small.resume(results)).approved, true);
  const large = new Run({ Order: '1003', Amount: '20.01' });
  const { results: waiting } = await large.ask();
  await gate.decide(waiting.approval_id, 'reject', 'No photo.');
  assert.match((await failure(large.resume(waiting))).message, /^Rejected by .*No photo\.$/u);
});

test('the worked Zap: what the form cannot give stops it', async () => {
  assert.match((await failure(new Run({ Order: '' }).ask())).message, /^A part of Request Key came out empty/u);
  assert.match((await failure(new Run({ Amount: '250,00 €' }).ask())).message, /must be a number such as 19\.50/u);
});

test('Redeem Decision Token as the README fills it in', async () => {
  const zap = new Run({ Order: '1004' }, { use_approval: 'later' });
  const { results: waiting } = await zap.ask();
  await gate.decide(waiting.approval_id, 'approve');
  const output = await zap.resume(waiting);
  const redeem = (form: Record<string, string>) => run('creates.redeem_decision_token.operation.perform', {
    authData: connect(gate), ...filledIn(app.creates.redeem_decision_token, { ...FORM, Order: '1004', 'Decision Token': output.token, Run: output.run, ...form }),
  });
  assert.match((await failure(redeem({ Amount: '2500.00' }))).message, /something else was approved/u);
  assert.equal((await redeem({})).results.token_first_use, true);
  assert.equal((await failure(redeem({ Run: 'zap-run-of-another' }))).name, 'HaltedError');
});

test('the test of the step in the editor shows a sample, and asks nobody', async () => {
  const { bundle } = new Run({ Order: '1005' });
  const { results, status } = await run('creates.request_approval.operation.perform', { ...bundle, meta: { ...META, isLoadingSample: true } }, receiver.callbackUrl());
  assert.deepEqual([status, results.request_id], ['SUCCESS', 'refund-1005']);
  assert.equal((await gate.call('zapier', 'GET', '/v1/requests/refund-1005')).status, 404);
});

test('Without the app: the bodies ask finance, and use the approval up once', async () => {
  const [asking, using] = blocks(section(README, '## Without the app'), 'json').map((block: string) => JSON.parse(block));
  const post = (path: string, body: Json) =>
    fetch(gate.origin + path, {
      method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', authorization: `Bearer webhooks.${gate.secret('webhooks')}` },
    }).then(async (response) => ({ status: response.status, body: (await response.json()) as Json }));
  const waiting = post('/v1/requests', asking);
  const id = await (async () => {
    for (;;) {
      const { status, body } = await gate.call('webhooks', 'GET', `/v1/requests/${asking.request_id}`);
      if (status === 200) return body.approval_id;
      await new Promise((next) => setTimeout(next, 25));
    }
  })();
  await gate.decide(id, 'approve');
  const { status, body } = await waiting;
  assert.deepEqual([status, body.status, body.approved, body.rule], [201, 'approved', true, 'payments']);
  const use = (redeemed_by: string) => post('/v1/tokens/redeem', { ...using, token: body.token, redeemed_by });
  assert.deepEqual([(await use('run 1')).body.first, (await use('run 2')).status], [true, 409]);
  assert.equal((await post('/v1/tokens/redeem', { ...using, token: body.token, payload: { amount: 1 }, redeemed_by: 'run 1' })).status, 409);
});

test('every command, address and picture that the README names is there', () => {
  const { scripts } = JSON.parse(readFileSync(at('package.json'), 'utf8')) as { scripts: Record<string, string> };
  for (const [, name = ''] of README.matchAll(/npm run ([a-z-]+)/gu)) assert.ok(name in scripts, name);
  for (const [, path = ''] of README.matchAll(/\]\((docs\/[^)]+)\)/gu)) assert.ok(readdirSync(at('docs')).includes(path.slice(5)), path);
  const headings = new Set([...README.matchAll(/^#+ (.+)$/gmu)].map(([, words = '']) => words.toLowerCase().replaceAll(/[^a-z ]/gu, '').replaceAll(' ', '-')));
  for (const [, anchor = ''] of README.matchAll(/\]\(#([^)]+)\)/gu)) assert.ok(headings.has(anchor), anchor);
  const labels = Object.values({ ...app.triggers, ...app.searches, ...app.creates }).filter((step: Json) => step.display.hidden !== true).map((step: Json) => step.display.label);
  for (const label of labels) assert.match(README, new RegExp(`\\*\\*${label}\\*\\*`, 'u'), 'each step is in the table');
});

test('the pictures are drawn from the definition and from the example', () => {
  const drawn = pictures(DEFINITION, README) as Record<string, string>;
  assert.deepEqual(readdirSync(at('docs')).sort(), Object.keys(drawn).sort());
  for (const [name, svg] of Object.entries(drawn)) assert.equal(readFileSync(at(`docs/${name}`), 'utf8'), svg, `docs/${name} is old: npm run pictures`);
  const changed = structuredClone(DEFINITION);
  changed.creates.request_approval.operation.inputFields[0].label = 'Another Name';
  assert.notEqual(pictures(changed, README)['request-approval.svg'], drawn['request-approval.svg']);
});

test('the approval is the one of the gate\'s OpenAPI document', async () => {
  const { contractFrom } = (await import(at('scripts/approval.js').href)) as Json;
  const document = JSON.parse(readFileSync(at('../../crates/http/openapi.json'), 'utf8')) as Json;
  assert.equal(readFileSync(at('src/approval_contract.ts'), 'utf8'), contractFrom(document), 'src/approval_contract.ts is old: npm run approval');
  // A property that comes new, or that changes, is noticed.
  document.components.schemas.Approval.properties.title = { type: 'string', description: 'The gate\'s own words.' };
  assert.match(contractFrom(document), /^ {2}title: string;$/mu);
  document.components.schemas.Approval.properties.stage = { type: 'array', items: { type: 'integer' } };
  assert.throws(() => contractFrom(document), /stage: this script does not know/u);
});
