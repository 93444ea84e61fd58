/** What the gate says: an approval, and the claims of its token, with the names of the wire. */

import { NULLABLE, STATUSES, type Approval } from './approval-wire.ts';
import { InvalidToken, Unreachable } from './errors.ts';

export type { Approval, Status, Vote } from './approval-wire.ts';

/** What a token says, once its signature is known to be good. Times are Unix seconds. */
export interface Claims {
  iss: string;
  sub: string;
  aud: string;
  jti: string;
  iat: number;
  exp: number;
  status: string;
  approved: boolean;
  action: string;
  payload_sha256: string;
  decided_by: string[];
  rule: string | null;
  /** The version of the policy that was in force; a gate older than this claim leaves it out. */
  policy?: unknown;
  /** Not valid before this time. The gate does not set it; a token that has it is held to it. */
  nbf?: number;
}

/** Reads the wire's shape. Two fields say the same; where they differ, nothing is approved. */
export function readApproval(body: unknown): Approval {
  if (!isObject(body)) throw new Unreachable('the answer is no approval: this does not seem to be a gate');
  const texts = ['request_id', 'approval_id', 'client', 'action', 'summary', 'payload_sha256'];
  const known = STATUSES.some((status) => status === body['status']);
  const agrees = body['approved'] === (body['status'] === 'approved');
  if (!known || !agrees || !texts.every((name) => typeof body[name] === 'string') || !isTexts(body['decided_by'])) {
    throw new Unreachable('the answer contradicts itself: this does not seem to be a gate');
  }
  const missing = Object.fromEntries(NULLABLE.filter((name) => body[name] === undefined).map((name) => [name, null]));
  const approval = { ...body, ...missing } as unknown as Approval;
  if (approval.token !== null && typeof approval.token !== 'string') {
    throw new Unreachable('the answer has no token to read: this does not seem to be a gate');
  }
  return approval;
}

/** Every claim has to be there, and of its type: `"yes"` is not `true`, and a list is no audience. */
export function readClaims(body: unknown): Claims {
  if (!isObject(body)) throw new InvalidToken('malformed');
  const texts = ['iss', 'sub', 'aud', 'jti', 'status', 'action', 'payload_sha256'];
  const whole = ['iat', 'exp'].every((name) => Number.isSafeInteger(body[name]));
  const rule = body['rule'] ?? null;
  if (
    !whole || !texts.every((name) => typeof body[name] === 'string') || typeof body['approved'] !== 'boolean' ||
    !isTexts(body['decided_by']) || !(rule === null || typeof rule === 'string') || !('nbf' in body ? Number.isFinite(body['nbf']) : true)
  ) {
    throw new InvalidToken('malformed');
  }
  return { ...(body as unknown as Claims), rule };
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
