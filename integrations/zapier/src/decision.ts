// Whether a step may go on. Every way to "yes" ends here, and asks the gate for it.

import type { Bundle, PlainInputField, ZObject } from 'zapier-platform-core';

import { type Approval, type Output, outputOf } from './approval.js';
import { verify } from './gate.js';
import { plain } from './middleware.js';
import type { Question } from './question.js';

/** What the builder wants when the answer is not yes. */
export const IF_NOT_APPROVED: PlainInputField = {
  key: 'if_not_approved',
  label: 'If Not Approved',
  type: 'string',
  required: false,
  choices: [
    { value: 'stop', sample: 'stop', label: 'Stop this run' },
    { value: 'continue', sample: 'continue', label: 'Continue, and hand on the outcome' },
  ],
  default: 'stop',
  helpText: 'Stopping is safe, and is not counted as an error. If you continue, put a Filter on Approved before the step that matters.',
};

/**
 * The outcome of an approval that has ended, once the gate has confirmed that it answers this very question.
 *
 * The token is checked by the gate against its own record, with the payload that this step holds.
 */
export async function outcomeOf(z: ZObject, bundle: Bundle, approval: Approval, question: Question): Promise<Output> {
  const otherQuestion = () =>
    new z.errors.Error(
      `The Request Key "${approval.request_id}" was used for another question before. Use a key that is different for each thing to approve.`,
      'other_question',
    );
  if (approval.action !== question.action || approval.summary !== question.summary) throw otherQuestion();
  if (approval.token === null) {
    throw new z.errors.Error('The gate gave no token for the decision, so it cannot be checked. Nothing was approved.', 'no_token');
  }
  const { valid, problem, claims } = await verify(z, bundle, approval.token, question.payload);
  if (problem === 'payload_mismatch') throw otherQuestion();
  if (approval.approved && valid && agree(claims, approval)) return outputOf(approval, { token_valid: true });
  if (!approval.approved && problem === 'not_approved') {
    return outputOf(approval, { token_valid: false, token_problem: problem });
  }
  if (problem === 'token_expired') {
    throw halted(z, `This was approved at ${approval.decided_at ?? 'some time'}, but an approval is only valid for some time, and that is over. To ask again, use another Request Key, or set If Asked Before.`);
  }
  throw new z.errors.Error(`The decision could not be confirmed (${problem ?? 'the token says something else'}). Nothing was approved.`, 'not_confirmed');
}

/** Whether the token says what the approval says. */
function agree(claims: Record<string, unknown> | null, approval: Approval): boolean {
  return (
    claims !== null &&
    claims['approved'] === true &&
    claims['status'] === approval.status &&
    claims['sub'] === approval.request_id &&
    claims['jti'] === approval.approval_id &&
    claims['aud'] === approval.client &&
    claims['action'] === approval.action &&
    claims['payload_sha256'] === approval.payload_sha256
  );
}

/** Hands an outcome on, or stops the run, as the builder wants. Only what is plainly approved goes on by itself. */
export function goOnOrStop(z: ZObject, bundle: Bundle, output: Output): Output {
  if (output.approved || bundle.inputData['if_not_approved'] === 'continue') return output;
  throw halted(z, inWords(output));
}

function inWords({ status, decided_by, reason, deadline }: Output): string {
  const who = decided_by?.join(', ') || 'the policy';
  const why = reason === null ? '' : ` Reason: ${reason}`;
  switch (status) {
    case 'rejected':
      return `Rejected by ${who}.${why}`;
    case 'expired':
      return `Nobody decided in time (by ${deadline ?? 'the deadline'}), which is not an approval.`;
    case 'cancelled':
      return `The request was cancelled.${why}`;
    case 'pending':
      return 'Nobody has decided yet.';
    case 'approved':
    case null:
      return 'This is not approved.';
  }
}

/** Ends the run without an error that would count against the Zap. */
export function halted(z: ZObject, words: string): Error {
  return plain(new z.errors.HaltedError(words));
}
