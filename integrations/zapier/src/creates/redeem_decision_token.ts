// Redeem Decision Token: uses an approval up, right before the thing is done, so that it is done once.

import { type Bundle, type ZObject, defineCreate } from 'zapier-platform-core';

import { OUTPUT_FIELDS, type Output, SAMPLE, outputOf } from '../approval.js';
import { approvalOf, halted, notUsable } from '../decision.js';
import { DETAIL_FIELDS, readDetails } from '../details.js';
import { textOf } from '../filled_in.js';
import { redeem } from '../gate.js';
import { characters } from '../json.js';
import { examine, inWords } from '../token.js';
import { TOKEN_FIELD } from './token_field.js';

/** The gate's limit, in characters. */
const LONGEST_NAME = 200;

async function perform(z: ZObject, bundle: Bundle): Promise<Output> {
  const token = textOf(z, bundle, 'token', 'Decision Token').trim();
  const usedBy = textOf(z, bundle, 'used_by', 'Used By').trim();
  if (usedBy === '' || characters(usedBy) > LONGEST_NAME) {
    throw new z.errors.Error(`Used By must have 1 to ${LONGEST_NAME} characters. Fill in the field Run of Request Approval.`, 'bad_used_by');
  }
  const payload = readDetails(z, bundle);
  const { problem, claims } = await examine(z, bundle, token, payload);
  if (problem !== null) throw halted(z, `The approval cannot be used: ${inWords(problem)}.`);
  const approval = await approvalOf(z, bundle, claims);
  const used = await redeem(z, bundle, token, usedBy, payload);
  if (!('first' in used)) throw halted(z, notUsable(used.refused));
  if (used.first === false && namesTheThing(usedBy, String(claims?.['sub']), payload)) {
    throw halted(z, `This approval has been used already, by "${usedBy}". That names what was approved, so every run for it has the same: fill in the field Run of Request Approval, which is this run's own.`);
  }
  return outputOf(approval, { run: usedBy, token_valid: true, token_first_use: used.first });
}

/**
 * Whether a name is of the thing that was approved, and not of a run: the order's number, its request key, one of its
 * details. Two runs for one order would both be let through by it.
 */
function namesTheThing(usedBy: string, requestId: string, payload = '{}'): boolean {
  const values: string[] = [];
  JSON.parse(payload, (_, value: unknown) => {
    if (typeof value === 'string' || typeof value === 'number') values.push(String(value));
    return value;
  });
  return requestId.includes(usedBy) || usedBy.includes(requestId) || values.includes(usedBy);
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
      ...DETAIL_FIELDS,
      {
        key: 'used_by',
        label: 'Used By',
        type: 'string',
        required: true,
        placeholder: 'zap-run-5b0c7f2e9d3a4186b7e05d1c92f8a364',
        helpText: 'The field Run of Request Approval, or of the trigger or search that found the decision: the name of this run. The same name again counts as a retry of the same use, so it must not be an order number, which other runs have too.',
      },
    ],
    perform,
    outputFields: OUTPUT_FIELDS,
    sample: { ...SAMPLE, token_first_use: true },
  },
});
