// Verify Decision Token: whether a token proves an approval that may be acted on now.

import { type Bundle, type ZObject, defineCreate } from 'zapier-platform-core';

import { OUTPUT_FIELDS, type Output, SAMPLE, outputOf } from '../approval.js';
import { IF_NOT_APPROVED, goOnOrStop, halted } from '../decision.js';
import { find, verify } from '../gate.js';
import { PAYLOAD_FIELDS, readPayload, text } from '../question.js';
import { TOKEN_FIELD } from './token_field.js';

/** What is wrong with a token, in words. */
const PROBLEMS: Readonly<Record<string, string>> = {
  malformed: 'this is not a decision token',
  wrong_algorithm: 'it was signed in another way than this client uses',
  invalid_signature: 'it was not signed by this gate',
  wrong_issuer: 'it is of another gate',
  wrong_audience: 'it is for another client',
  token_expired: 'it was valid for some time only, and that is over',
  payload_mismatch: 'something else was approved: the details differ',
  not_approved: 'it says that the request was not approved',
  unknown_approval: 'the gate has no record of this decision',
};

async function perform(z: ZObject, bundle: Bundle): Promise<Output> {
  const token = text(bundle.inputData['token']).trim();
  const { valid, problem, claims } = await verify(z, bundle, token, readPayload(z, bundle.inputData));
  if (!valid) {
    const words = PROBLEMS[problem ?? ''] ?? problem ?? 'the gate does not say why';
    // Nothing of the approval is handed on: a Filter on its status must not let this pass.
    const refused = outputOf(undefined, { token_valid: false, token_problem: problem });
    if (bundle.inputData['if_not_approved'] === 'continue') return refused;
    throw halted(z, `The decision token is not valid: ${words}.`);
  }
  const approval = await find(z, bundle, text(claims?.['sub']));
  if (approval === undefined || approval.approval_id !== claims?.['jti'] || !approval.approved) {
    throw new z.errors.Error('The gate has no approval that fits the token. Nothing was approved.', 'not_confirmed');
  }
  return goOnOrStop(z, bundle, outputOf(approval, { token_valid: true }));
}

export default defineCreate({
  key: 'verify_decision_token',
  noun: 'Decision Token',
  display: {
    label: 'Verify Decision Token',
    description: 'Checks that a decision token is real, still valid, and for exactly these details. It goes on only if it is.',
  },
  operation: {
    inputFields: [TOKEN_FIELD, ...PAYLOAD_FIELDS, IF_NOT_APPROVED],
    perform,
    outputFields: OUTPUT_FIELDS,
    sample: { ...SAMPLE },
  },
});
