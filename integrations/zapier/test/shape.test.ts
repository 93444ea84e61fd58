// One shape everywhere: the sample and the field list of each step are what really comes back.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { Gate, type Json, Receiver } from './gate.js';
import { META, PausingStep, app, connect, posted, run } from './platform.js';

let gate: Gate;
let receiver: Receiver;

before(async () => {
  // One after the other: a receiver that is left behind by a gate that did not start would keep the process alive.
  gate = await Gate.start();
  receiver = await Receiver.start();
});
after(async () => { await Promise.all([gate?.stop(), receiver?.stop()]); });

interface Field {
  key: string;
  label: string;
  type?: string;
  list?: boolean;
  dict?: boolean;
}

/** Every operation of the app that hands something on. */
const OPERATIONS: [string, Json][] = ['triggers', 'searches', 'creates'].flatMap((kind) =>
  Object.values(app[kind] as Record<string, Json>).map((one): [string, Json] => [`${kind}.${one.key}`, one.operation]),
);

/** Paths of all values, as the field list writes them: `votes[]reviewer`. */
function values(item: Json, fields: Field[]): [string, unknown][] {
  return Object.entries(item as Record<string, unknown>).flatMap(([key, value]): [string, unknown][] => {
    const isWhole = fields.some((field) => field.key === key);
    if (isWhole || !Array.isArray(value)) return [[key, value]];
    return value.flatMap((line) => Object.entries(line as object).map(([inner, deep]): [string, unknown] => [`${key}[]${inner}`, deep]));
  });
}

/** The paths that an item must have: with no line in a list, its columns cannot show. */
function paths(item: Json, fields: Field[]): string[] {
  const seen = new Set(values(item, fields).map(([path]) => path));
  for (const { key } of fields) {
    const [list, column] = key.split('[]');
    if (column !== undefined && (item[list ?? ''] === null || item[list ?? ''].length === 0)) seen.add(key);
  }
  for (const list of new Set(fields.map(({ key }) => key.split('[]')).filter((parts) => parts.length > 1).map(([name]) => name ?? ''))) seen.delete(list);
  return [...seen].sort();
}

function fits(value: unknown, { type, list, dict }: Field): boolean {
  if (value === null) return true;
  if (list === true) return Array.isArray(value) && value.every((one) => typeof one === 'string');
  if (dict === true) return typeof value === 'object' && !Array.isArray(value);
  switch (type) {
    case 'string': return typeof value === 'string';
    case 'boolean': return typeof value === 'boolean';
    case 'integer': return Number.isInteger(value);
    case 'datetime': return typeof value === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/u.test(value);
    default: return false;
  }
}

function assertFits(item: Json, name: string, { outputFields, sample }: Json): void {
  const fields = outputFields as Field[];
  assert.deepEqual(paths(item, fields), fields.map(({ key }) => key).sort(), `${name}: the fields`);
  assert.deepEqual(Object.keys(item).sort(), Object.keys(sample).sort(), `${name}: the sample`);
  for (const [path, value] of values(item, fields)) {
    const field = fields.find(({ key }) => key === path);
    assert.ok(field !== undefined && fits(value, field), `${name}: ${path} is ${JSON.stringify(value)}, not ${JSON.stringify(field)}`);
  }
}

/** What each operation really hands on. */
async function live(): Promise<Map<string, Json[]>> {
  const authData = connect(gate);
  const found = new Map<string, Json[]>();
  const keep = (name: string, results: Json) => found.set(name, [...(found.get(name) ?? []), ...[results].flat()]);
  const question = { summary: 'Refund it.', action: 'refund.large', details: { to: 'ada' }, labels: { team: 'support' } };
  const pausing = new PausingStep(authData, { ...question, request_key: `order-${randomUUID()}`, if_not_approved: 'continue' }, receiver.callbackUrl());
  const waiting = (await pausing.perform()).results;
  keep('creates.request_approval', (await pausing.perform({ isLoadingSample: true })).results);
  const approved = await gate.decide(waiting.approval_id, 'approve', 'Fine.');
  keep('creates.request_approval', await pausing.resume(waiting, posted(await receiver.waitAt(pausing.callbackUrl))));
  const step = async (name: string, inputData: Record<string, unknown>) => {
    const { results } = await run(`${name}.operation.perform`, { authData, inputData });
    keep(name, results);
    return [results].flat()[0];
  };
  const created = await step('creates.create_approval_request', { ...question, request_key: `order-${randomUUID()}` });
  await step('creates.create_approval_request', { ...question, action: 'data.delete', request_key: `order-${randomUUID()}` });
  for (const { request_id: key } of [approved, created]) await step('searches.find_approval', { request_key: key });
  await step('creates.verify_decision_token', { token: approved.token });
  await step('creates.verify_decision_token', { token: 'none', if_not_approved: 'continue' });
  await step('creates.redeem_decision_token', { token: approved.token, used_by: waiting.run });
  await step('creates.cancel_approval', { request_key: created.request_id });
  await step('triggers.approval_list', {});
  for (const [trigger, data] of [['new_approval_request', created], ['approval_decided', approved]] as const) {
    const type = trigger === 'new_approval_request' ? 'approval.requested' : 'approval.decided';
    const name = `triggers.${trigger}`;
    keep(name, (await run(`${name}.operation.perform`, { authData, cleanedRequest: { type, data } })).results);
    keep(name, (await run(`${name}.operation.performList`, { authData })).results);
  }
  return found;
}

test('every live answer has exactly the fields of the list and of the sample, in their types', async () => {
  const answers = await live();
  for (const [name, operation] of OPERATIONS) {
    const items = answers.get(name) ?? [];
    assert.ok(items.length > 0, `${name} handed nothing on`);
    for (const item of items) assertFits(item, name, operation);
  }
});

test('every sample fits its own field list, and leaves nothing to guess', () => {
  for (const [name, operation] of OPERATIONS) {
    assertFits(operation.sample, `${name}: sample`, operation);
    assert.deepEqual(operation.sample.id, operation.sample.approval_id);
  }
});

test('one shape everywhere', () => {
  const [, first] = OPERATIONS[0] ?? ['', {}];
  for (const [name, operation] of OPERATIONS) {
    assert.deepEqual(operation.outputFields, first.outputFields, name);
    assert.deepEqual(Object.keys(operation.sample), Object.keys(first.sample), name);
  }
});

test('the shape is the contract\'s approval, but for what only some answers hold', async () => {
  const document = await (await fetch(`${gate.origin}/openapi.json`)).json() as Json;
  // The twin comes in the answer to a new request; the others where a reviewer has changed what was asked, which a Zap refuses.
  const someAnswers = ['changes', 'payload', 'pending_twin'];
  const ours = ['id', 'run', 'token_first_use', 'token_problem', 'token_valid'];
  const contract = Object.keys(document.components.schemas.Approval.properties);
  const shown = Object.keys(OPERATIONS[0]?.[1].sample ?? {});
  assert.deepEqual([...shown, ...someAnswers].sort(), [...contract, ...ours].sort());
});

test('the platform accepts the definition', async () => {
  const { handler } = await import('./platform.js');
  const { results } = await handler({ command: 'validate', bundle: { meta: META } });
  assert.deepEqual(results, []);
});
