/**
 * The `request_approval` tool that a model calls, and what it is told. One for every SDK; each adapter only wraps it.
 *
 * The model asks and gets a token; the tool that does the deed takes the token and verifies it (`requireToken`). What
 * the model says about an approval is worth nothing.
 */

import { randomBytes } from 'node:crypto';

import { isObject, type Approval } from './approval.ts';
import { canonical, decoded, sha256, strictObject, wellFormed } from './canonical.ts';
import type { Placet } from './client.ts';
import { PlacetError } from './errors.ts';

export const NAME = 'request_approval';
export const DESCRIPTION =
  'Ask a person to approve something before you do it, and wait for the answer. `payload` is exactly what will be done. ' +
  'If `status` is still `pending`, call this again with the same arguments and the `request_id` you were told. Only `approved: true` with an ' +
  '`approval_token` allows it: hand the token to the tool that does it. Anything else means no.';
export const PARAMETERS = {
  type: 'object' as const,
  properties: {
    request_id: { type: 'string', description: 'Leave it out at first. To go on waiting for an answer, the request_id that you were told' },
    summary: { type: 'string', description: 'What the person is told, in your words, at most 500 characters' },
    action: { type: 'string', description: 'Dotted name of what will be done, such as invoice.pay' },
    payload: { type: 'object', description: 'Exactly the arguments that the deed will be done with', additionalProperties: true },
  },
  required: ['summary', 'action', 'payload'],
  additionalProperties: false as const,
};

/**
 * What the model is told. Whatever goes wrong is told as not approved.
 *
 * The model's `request_id` is a label of its own: the request's real name is made here, from the label, from what is
 * asked, and from the host's name of the conversation. So no model can name a request that is not its own.
 */
export async function answer(gate: Placet, given: unknown, waitSeconds?: number, conversation?: string): Promise<Record<string, unknown>> {
  try {
    const asked = typeof given === 'string' ? strictObject(given) : given;
    const names = isObject(asked) ? Object.keys(asked) : [];
    if (!isObject(asked) || names.some((name) => !(name in PARAMETERS.properties)) || PARAMETERS.required.some((name) => !names.includes(name))) {
      throw new PlacetError(`${NAME} takes ${Object.keys(PARAMETERS.properties).join(', ')}`);
    }
    const { summary, action } = asked;
    const label = asked['request_id'] ?? randomBytes(8).toString('hex');
    if (typeof label !== 'string' || typeof summary !== 'string' || typeof action !== 'string') {
      throw new PlacetError('request_id, summary and action are texts');
    }
    if (!/^(?!\.{1,2}$)[A-Za-z0-9._:-]{1,128}$/.test(label)) throw new PlacetError('request_id is 1 to 128 of A-Za-z0-9._:-, and neither . nor ..');
    const text = canonical(asked['payload']);
    const parts = JSON.stringify([gate.client, conversation ?? null, label, action, sha256(text)]);
    const name = `${label.slice(0, 60)}-${sha256(parts).slice(0, 24)}`;
    const approval = await gate.heard({ name, action, text, summary, listenSeconds: waitSeconds, leaveOpen: true });
    if (approval.approved) await gate.verify(approval.token, decoded(text), action, gate.client);
    return told(approval, label);
  } catch (error) {
    if (!(error instanceof PlacetError)) throw error;
    return { approved: false, status: 'not_approved', error: error.message };
  }
}

function told(approval: Approval, label: string): Record<string, unknown> {
  const { status, approved, decided_by, reason } = approval;
  const said = { request_id: label, status, approved, decided_by, reason };
  if (approved) return { ...said, approval_token: approval.token };
  return status === 'pending' ? { ...said, next: `call ${NAME} again with the same arguments and this request_id` } : said;
}

/**
 * A tool's name as a dotted action: what the policy's rules are written for. A name that is no action as it is gets a
 * digest at its end: no two tools share an action, and so a rule.
 */
export function actionOf(tool: string, prefix = ''): string {
  const name = wellFormed(tool, 80).replace(/[^A-Za-z0-9_-]/gu, '-');
  return prefix + (name === tool && name !== '' ? name : `${name || 'unnamed'}-${sha256(tool).slice(0, 12)}`);
}
