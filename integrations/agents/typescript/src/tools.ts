/**
 * The `request_approval` tool that a model calls, and what it is told. One for every SDK; each adapter only wraps it.
 *
 * The model asks and gets a token; the tool that does the deed takes the token and verifies it (`requireToken`). What
 * the model says about an approval is worth nothing.
 */

import { isObject, type Approval } from './approval.ts';
import { canonical, decoded, strictObject } from './canonical.ts';
import type { Placet } from './client.ts';
import { PlacetError } from './errors.ts';

export const NAME = 'request_approval';
export const DESCRIPTION =
  'Ask a person to approve something before you do it, and wait for the answer. `payload` is exactly what will be done. ' +
  'If `status` is still `pending`, call this again with the same arguments. Only `approved: true` with an ' +
  '`approval_token` allows it: hand the token to the tool that does it. Anything else means no.';
export const PARAMETERS = {
  type: 'object' as const,
  properties: {
    request_id: { type: 'string', description: 'Your name for this one deed, 1 to 128 of A-Za-z0-9._:- ; the same name again asks nobody twice' },
    summary: { type: 'string', description: 'What the person is told, in your words, at most 500 characters' },
    action: { type: 'string', description: 'Dotted name of what will be done, such as invoice.pay' },
    payload: { type: 'object', description: 'Exactly the arguments that the deed will be done with', additionalProperties: true },
  },
  required: ['request_id', 'summary', 'action', 'payload'],
  additionalProperties: false as const,
};

/** What the model is told. Whatever goes wrong is told as not approved. */
export async function answer(gate: Placet, given: unknown, waitSeconds?: number): Promise<Record<string, unknown>> {
  try {
    const asked = typeof given === 'string' ? strictObject(given) : given;
    if (!isObject(asked) || Object.keys(asked).sort().join() !== [...PARAMETERS.required].sort().join()) {
      throw new PlacetError(`${NAME} takes ${PARAMETERS.required.join(', ')}`);
    }
    const { request_id: requestId, summary, action } = asked;
    if (typeof requestId !== 'string' || typeof summary !== 'string' || typeof action !== 'string') {
      throw new PlacetError('request_id, summary and action are texts');
    }
    const payload = decoded(canonical(asked['payload']));
    let approval = await gate.ask({ requestId, summary, action, payload });
    if (approval.status === 'pending') approval = await gate.wait(requestId, waitSeconds);
    if (approval.approved) await gate.verify(approval.token, payload, action);
    return told(approval);
  } catch (error) {
    if (!(error instanceof PlacetError)) throw error;
    return { approved: false, status: 'not_approved', error: error.message };
  }
}

function told(approval: Approval): Record<string, unknown> {
  const { request_id, status, approved, decided_by, reason } = approval;
  const said = { request_id, status, approved, decided_by, reason };
  if (approved) return { ...said, approval_token: approval.token };
  return status === 'pending' ? { ...said, next: `call ${NAME} again with the same arguments` } : said;
}

/** A tool's name as a dotted action: what the policy's rules are written for. */
export function actionOf(tool: string, prefix = ''): string {
  return prefix + (tool.slice(0, 100).replace(/[^A-Za-z0-9_-]/g, '-') || 'unnamed');
}
