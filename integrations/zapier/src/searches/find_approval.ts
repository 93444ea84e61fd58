// Find Approval: how a request stands.

import { type Bundle, type ZObject, defineSearch } from 'zapier-platform-core';

import { OUTPUT_FIELDS, type Output, SAMPLE, outputOf } from '../approval.js';
import { find } from '../gate.js';
import { readKey } from '../question.js';
import { newNameOfRun } from '../run.js';
import { examine } from '../token.js';
import { EXISTING_KEY_FIELD } from '../triggers/approval_list.js';

async function perform(z: ZObject, bundle: Bundle): Promise<(Output & { id: string })[]> {
  const approval = await find(z, bundle, readKey(z, bundle));
  if (approval === undefined) return [];
  const run = newNameOfRun();
  if (approval.token === null) return [{ ...outputOf(approval, { run }), id: approval.approval_id }];
  const { problem } = await examine(z, bundle, approval.token);
  return [{ ...outputOf(approval, { run, token_valid: problem === null, token_problem: problem }), id: approval.approval_id }];
}

export default defineSearch({
  key: 'find_approval',
  noun: 'Approval',
  display: {
    label: 'Find Approval',
    description: 'Finds an approval by its request key, and says how it stands and whether it may still be acted on.',
  },
  operation: {
    inputFields: [EXISTING_KEY_FIELD],
    perform,
    outputFields: OUTPUT_FIELDS,
    sample: { ...SAMPLE },
  },
});
