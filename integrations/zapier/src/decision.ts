// Whether a step may go on. Every way to "yes" ends here, and asks the gate for it.

import type { Bundle, PlainInputField, ZObject } from 'zapier-platform-core';

import { type Approval, type Output, outputOf } from './approval.js';
import { mustBeWrittenOut } from './filled_in.js';
import { find, redeem } from './gate.js';
import { plain } from './middleware.js';
import type { Problem } from './problem.js';
import { type Question, isAnswerTo } from './question.js';
import { examine, inWords } from './token.js';

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

/** Who uses the approval up, and when. */
export const USE_APPROVAL: PlainInputField = {
  key: 'use_approval',
  label: 'Use the Approval',
  type: 'string',
  required: false,
  choices: [
    { value: 'here', sample: 'here', label: 'In this step, for this run alone' },
    { value: 'later', sample: 'later', label: 'In a later step: Redeem Decision Token' },
  ],
  default: 'here',
  helpText: 'An approval is good for one run: another run with the same Request Key is stopped. Choose a later step only if Redeem Decision Token follows, or if another program redeems the token.',
};

/** Fields that decide what happens after the answer: typed by the builder, and never a value of another step. */
const CHOICES: readonly PlainInputField[] = [IF_NOT_APPROVED, USE_APPROVAL];

/** Refuses choices that another step would make. */
export function choicesMustBeWrittenOut(z: ZObject, bundle: Bundle, ...more: PlainInputField[]): void {
  for (const { key, label = key } of [...CHOICES, ...more]) mustBeWrittenOut(z, bundle, key, label, 'Choose it from the list.');
}

/** Lets the run go on with an approval that has ended, or stops it: the one way from a decision to the next step. */
export async function settle(z: ZObject, bundle: Bundle, approval: Approval, question: Question, run: string): Promise<Output> {
  const outcome: Output = { ...(await outcomeOf(z, bundle, approval, question)), run };
  if (!outcome.approved || bundle.inputData['use_approval'] === 'later') return goOnOrStop(z, bundle, outcome);
  const used = await redeem(z, bundle, outcome.token ?? '', run, question.payload);
  if (!('first' in used)) throw halted(z, `${notUsable(used.refused)} One approval is good for one run. To ask again, use another Request Key, or set If Asked Before.`);
  // Under this run's own name, a second time is a retry of the first.
  return goOnOrStop(z, bundle, { ...outcome, token_first_use: true });
}

/** Why the gate did not let a token be used, in words. */
export function notUsable(problem: Problem | undefined): string {
  if (problem?.code === 'already_redeemed') {
    return `This approval has been used already, by "${problem.redeemedBy ?? 'another run'}".`;
  }
  return `The approval cannot be used: ${problem === undefined ? 'the gate does not say why' : inWords(problem.code)}.`;
}

/**
 * The outcome of an approval that has ended, once it is sure that it answers this very question.
 *
 * The gate checks the token against its own record, with the payload that this step holds; its signature is checked here.
 */
async function outcomeOf(z: ZObject, bundle: Bundle, approval: Approval, question: Question): Promise<Output> {
  if (!isAnswerTo(approval, question)) throw otherQuestion(z, approval.request_id);
  if (approval.token === null) {
    throw new z.errors.Error('The gate gave no token for the decision, so it cannot be checked. Nothing was approved.', 'no_token');
  }
  const { problem, claims } = await examine(z, bundle, approval.token, question.payload);
  if (problem === 'payload_mismatch') throw otherQuestion(z, approval.request_id);
  if (approval.approved && problem === null && agree(claims, approval)) return outputOf(approval, { token_valid: true });
  if (!approval.approved && problem === 'not_approved') {
    return outputOf(approval, { token_valid: false, token_problem: problem });
  }
  if (problem === 'token_expired') {
    throw halted(z, `This was approved at ${approval.decided_at ?? 'some time'}, but an approval is only valid for some time, and that is over. To ask again, use another Request Key, or set If Asked Before.`);
  }
  throw new z.errors.Error(`The decision could not be confirmed (${problem === null ? 'the token says something else' : inWords(problem)}). Nothing was approved.`, 'not_confirmed');
}

/** One key is one question. */
export function otherQuestion(z: ZObject, requestId: string): Error {
  return new z.errors.Error(
    `The Request Key "${requestId}" was used for another question before: its action or its details differ. Use a key that is different for each thing to approve.`,
    'other_question',
  );
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

/**
 * The approval that a good token is for. The client's own is read again; an executor, who redeems what others asked, has
 * only the token's claims.
 */
export async function approvalOf(z: ZObject, bundle: Bundle, claims: Record<string, unknown> | null): Promise<Partial<Approval>> {
  const [requestId, client] = [String(claims?.['sub'] ?? ''), String(claims?.['aud'] ?? '')];
  if (claims?.['approved'] === true && client !== (bundle.authData['client_id'] ?? '').trim()) {
    const { action, payload_sha256, decided_by, rule, iat } = claims;
    return {
      request_id: requestId, approval_id: String(claims['jti']), client, status: 'approved', approved: true, action: String(action),
      payload_sha256: String(payload_sha256), decided_by: Array.isArray(decided_by) ? decided_by.map(String) : [],
      rule: typeof rule === 'string' ? rule : null, decided_at: typeof iat === 'number' ? new Date(iat * 1000).toISOString() : null,
    };
  }
  const approval = await find(z, bundle, requestId);
  if (approval === undefined || !approval.approved || !agree(claims, approval)) {
    throw new z.errors.Error('The gate has no approval that fits the token. Nothing was approved.', 'not_confirmed');
  }
  return approval;
}

/** Hands an outcome on, or stops the run, as the builder wants. Only what is plainly approved goes on by itself. */
export function goOnOrStop(z: ZObject, bundle: Bundle, output: Output): Output {
  if (output.approved || bundle.inputData['if_not_approved'] === 'continue') return output;
  throw halted(z, endInWords(output));
}

function endInWords({ status, decided_by, reason, deadline }: Output): string {
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
