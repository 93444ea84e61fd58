// The hidden list behind the drop-downs, so that nobody has to type a key.

import { type Bundle, type PlainInputField, type ZObject, defineTrigger } from 'zapier-platform-core';

import { OUTPUT_FIELDS, type Output, PENDING_SAMPLE, outputOf } from '../approval.js';
import { list } from '../gate.js';

/** The most that the gate lists in one answer. */
const PAGE = 100;

/** The key of a request that exists: chosen from the newest ones, or handed on from an earlier step. */
export const EXISTING_KEY_FIELD: PlainInputField = {
  key: 'request_key',
  label: 'Request Key',
  type: 'string',
  required: true,
  dynamic: 'approval_list.request_id.summary',
  search: 'find_approval.request_id',
  helpText: 'The Request Key that the approval was asked with. Choose one, or use the field Request Key of an earlier step.',
};

async function perform(z: ZObject, bundle: Bundle): Promise<(Output & { id: string })[]> {
  const approvals = await list(z, bundle, PAGE);
  return approvals.map((approval) => ({ ...outputOf(approval), id: approval.approval_id }));
}

export default defineTrigger({
  key: 'approval_list',
  noun: 'Approval',
  display: {
    label: 'Approval List',
    description: 'Triggers when an approval is listed, to fill the drop-downs of other steps.',
    hidden: true,
  },
  operation: {
    type: 'polling',
    perform,
    outputFields: OUTPUT_FIELDS,
    sample: { ...PENDING_SAMPLE },
  },
});
