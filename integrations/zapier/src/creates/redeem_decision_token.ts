// Redeem Decision Token: uses an approval up, right before the thing is done, so that it is done once.

import { type Bundle, type ZObject, defineCreate } from 'zapier-platform-core';

import { OUTPUT_FIELDS, type Output, SAMPLE, outputOf } from '../approval.js';
import { halted } from '../decision.js';
import { call, find, json } from '../gate.js';
import { isRecord, problemOf } from '../problem.js';
import { PAYLOAD_FIELDS, readPayload, text } from '../question.js';
import { TOKEN_FIELD } from './token_field.js';

/** Why a token may not be used, in words. */
const REFUSALS: Readonly<Record<string, string>> = {
  not_approved: 'The request was not approved.',
  payload_mismatch: 'Something else was approved: the details differ.',
  token_expired: 'The approval was valid for some time only, and that is over.',
};

async function perform(z: ZObject, bundle: Bundle): Promise<Output> {
  const fields = { token: text(bundle.inputData['token']).trim(), redeemed_by: text(bundle.inputData['used_by']).trim() };
  const body = json(fields, readPayload(z, bundle.inputData));
  const { status, data } = await call(z, bundle, { method: 'POST', path: '/v1/tokens/redeem', body, expected: [409] });
  if (status === 409) {
    const problem = problemOf(data);
    if (problem?.code === 'already_redeemed') throw halted(z, `This approval has been used already, by "${problem.redeemedBy ?? 'another run'}".`);
    throw halted(z, REFUSALS[problem?.code ?? ''] ?? `The gate refused: ${problem?.detail ?? 'it does not say why'}.`);
  }
  const claims = isRecord(data) && isRecord(data['claims']) ? data['claims'] : {};
  const first = isRecord(data) ? data['first'] : undefined;
  const approval = await find(z, bundle, text(claims['sub']));
  if (typeof first !== 'boolean' || approval === undefined || approval.approval_id !== claims['jti'] || !approval.approved) {
    throw new z.errors.Error('The gate has no approval that fits the token. Nothing was approved.', 'not_confirmed');
  }
  return outputOf(approval, { token_valid: true, token_first_use: first });
}

export default defineCreate({
  key: 'redeem_decision_token',
  noun: 'Decision Token',
  display: {
    label: 'Redeem Decision Token',
    description: 'Uses up an approval, right before the step that matters. A second use under another name stops the run.',
  },
  operation: {
    inputFields: [
      TOKEN_FIELD,
      ...PAYLOAD_FIELDS,
      {
        key: 'used_by',
        label: 'Used By',
        type: 'string',
        required: true,
        placeholder: 'refund-1001',
        helpText: 'A name for this use, such as the order number. The same name again counts as a retry of the same use.',
      },
    ],
    perform,
    outputFields: OUTPUT_FIELDS,
    sample: { ...SAMPLE, token_first_use: true },
  },
});
