// The publishing rules that need no network, and that the check would find a breach of each.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Json } from './gate.js';
import { app } from './platform.js';
import { faults } from './style_rules.js';

test('the app keeps the publishing rules', () => {
  assert.deepEqual(faults(app), []);
});

/** The definition, to be spoiled; its functions stay. */
function copy(value: Json): Json {
  if (Array.isArray(value)) return value.map(copy);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, copy(inner)]));
}

const BREACHES: [string, (app: Json) => void, RegExp][] = [
  ['a label in lower case', ({ creates }) => { creates.request_approval.display.label = 'Request approval'; }, /request_approval: the label .* title case/u],
  ['the platform\'s name', ({ searches }) => { searches.find_approval.display.label = 'Find Zapier Approval'; }, /find_approval: a name says Zapier/u],
  ['a trigger that does not say when', ({ triggers }) => { triggers.approval_decided.display.description = 'An approval was decided.'; }, /"Triggers when"/u],
  ['an action that does not say what', ({ creates }) => { creates.cancel_approval.display.description = 'Cancel it.'; }, /what the step does/u],
  ['no full stop', ({ creates }) => { creates.cancel_approval.display.description = 'Cancels it'; }, /full stop/u],
  ['two steps of one name', ({ creates }) => { creates.cancel_approval.display.label = 'Request Approval'; }, /two steps/u],
  ['no performList', ({ triggers }) => { delete triggers.approval_decided.operation.performList; }, /performList/u],
  ['no sample', ({ creates }) => { creates.cancel_approval.operation.sample = {}; }, /no sample/u],
  ['an output that the sample lacks', ({ creates }) => { delete creates.cancel_approval.operation.sample.stage; }, /"stage" is not in the sample/u],
  ['a field labelled ID', ({ creates }) => { creates.cancel_approval.operation.inputFields[0].label = 'Approval ID'; }, /ends in ID/u],
  ['no help text', ({ authentication }) => { delete authentication.fields[0].helpText; }, /authentication\.gate_url: the help text/u],
  ['no help text in a group', ({ creates }) => { delete creates.request_approval.operation.inputFields.find(({ key }: Json) => key === 'line_items').children[0].helpText; }, /line_items\.description: the help text/u],
  ['a bare link', ({ authentication }) => { authentication.fields[0].helpText = 'Look at https://example.com for more.'; }, /a link in the help text/u],
  ['a link without encryption', ({ authentication }) => { authentication.fields[0].helpText = 'Look at [this](http://example.com) page.'; }, /a link in the help text/u],
  ['a secret in plain sight', ({ authentication }) => { authentication.fields[2].type = 'string'; }, /client_secret: it is shown/u],
  ['no connection label', ({ authentication }) => { delete authentication.connectionLabel; }, /connections have no label/u],
  ['a drop-down that leads nowhere', ({ creates }) => { creates.cancel_approval.operation.inputFields[0].dynamic = 'approval_list.name.id'; }, /drop-down/u],
  ['a search that finds nothing', ({ creates }) => { creates.cancel_approval.operation.inputFields[0].search = 'find_it.request_id'; }, /search does not find/u],
  ['a default that is no choice', ({ creates }) => { creates.verify_decision_token.operation.inputFields.at(-1).default = 'go'; }, /default is not one/u],
];

for (const [name, spoil, words] of BREACHES) {
  test(`the check finds ${name}`, () => {
    const spoiled = copy(app);
    spoil(spoiled);
    assert.match(faults(spoiled).join('\n'), words);
  });
}
