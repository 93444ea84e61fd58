// Verify Decision Token: whether a token proves an approval that may be acted on now.

import { type Bundle, type ZObject, defineCreate } from 'zapier-platform-core';

import { OUTPUT_FIELDS, type Output, SAMPLE, outputOf } from '../approval.js';
import { IF_NOT_APPROVED, approvalOf, choicesMustBeWrittenOut, goOnOrStop, halted } from '../decision.js';
import { DETAIL_FIELDS, readDetails } from '../details.js';
import { textOf } from '../filled_in.js';
import { newNameOfRun } from '../run.js';
import { examine, inWords } from '../token.js';
import { TOKEN_FIELD } from './token_field.js';

async function perform(z: ZObject, bundle: Bundle): Promise<Output> {
  choicesMustBeWrittenOut(z, bundle);
  const token = textOf(z, bundle, 'token', 'Decision Token').trim();
  const { problem, claims } = await examine(z, bundle, token, readDetails(z, bundle));
  if (problem !== null) {
    // Nothing of the approval is handed on: a Filter on its status must not let this pass.
    const refused = outputOf(undefined, { token_valid: false, token_problem: problem });
    if (bundle.inputData['if_not_approved'] === 'continue') return refused;
    throw halted(z, `The decision token is not valid: ${inWords(problem)}.`);
  }
  return goOnOrStop(z, bundle, outputOf(await approvalOf(z, bundle, claims), { run: newNameOfRun(), token_valid: true }));
}

export default defineCreate({
  key: 'verify_decision_token',
  noun: 'Decision Token',
  display: {
    label: 'Verify Decision Token',
    description: 'Checks that a decision token is real, still valid, and for exactly these details. It goes on only if it is.',
  },
  operation: {
    inputFields: [TOKEN_FIELD, ...DETAIL_FIELDS, IF_NOT_APPROVED],
    perform,
    outputFields: OUTPUT_FIELDS,
    sample: { ...SAMPLE },
  },
});
