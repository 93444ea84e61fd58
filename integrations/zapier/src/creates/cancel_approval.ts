// Cancel Approval: withdraws a question that nobody has decided yet.

import { type Bundle, type ZObject, defineCreate } from 'zapier-platform-core';

import { OUTPUT_FIELDS, type Output, PENDING_SAMPLE, SAMPLE, approvalIn, outputOf } from '../approval.js';
import { halted } from '../decision.js';
import { call } from '../gate.js';
import { problemOf } from '../problem.js';
import { readKey } from '../question.js';
import { EXISTING_KEY_FIELD } from '../triggers/approval_list.js';

async function perform(z: ZObject, bundle: Bundle): Promise<Output> {
  const requestId = readKey(z, bundle);
  const path = `/v1/requests/${encodeURIComponent(requestId)}/cancel`;
  const response = await call(z, bundle, { method: 'POST', path, body: '{}', expected: [404, 409] });
  if (response.status === 404) {
    throw new z.errors.Error(`There is no approval with the Request Key "${requestId}".`, 'not_found');
  }
  if (response.status !== 409) return outputOf(approvalIn(z, response.data));
  const recorded = approvalIn(z, problemOf(response.data)?.approval);
  // A retry of this step meets its own work.
  if (recorded.status === 'cancelled') return outputOf(recorded);
  throw halted(z, `It is too late to cancel: the request has ended, as ${recorded.status}, at ${recorded.decided_at ?? 'some time'}.`);
}

export default defineCreate({
  key: 'cancel_approval',
  noun: 'Approval',
  display: {
    label: 'Cancel Approval',
    description: 'Withdraws a request that nobody has decided yet. A run that waits for it gets the outcome Cancelled.',
  },
  operation: {
    inputFields: [EXISTING_KEY_FIELD],
    perform,
    outputFields: OUTPUT_FIELDS,
    sample: {
      ...PENDING_SAMPLE,
      status: 'cancelled', decided_at: '2026-11-25T09:01:30.000Z', decided_by: ['client:zapier'],
      token: SAMPLE.token,
    },
  },
});
