/** What the gate says: an approval, and the claims of its token, with the names of the wire. */

import { InvalidToken, Unreachable } from './errors.ts';

const STATUSES = ['pending', 'approved', 'rejected', 'expired', 'cancelled'] as const;

export type Status = (typeof STATUSES)[number];

/** One request and how it stands. */
export interface Approval {
  request_id: string;
  approval_id: string;
  client: string;
  status: Status;
  approved: boolean;
  action: string;
  summary: string;
  payload_sha256: string;
  metadata: Record<string, string>;
  rule: string | null;
  stage: number | null;
  created_at: string;
  deadline: string | null;
  decided_at: string | null;
  decided_by: string[];
  reason: string | null;
  votes: { reviewer: string; decision: 'approve' | 'reject'; reason: string | null; voted_at: string }[];
  token: string | null;
  status_url: string;
  pending_twin?: string;
}

/** What a token says, once its signature is known to be good. */
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
  if (body['token'] !== null && typeof body['token'] !== 'string') {
    throw new Unreachable('the answer has no token to read: this does not seem to be a gate');
  }
  return body as unknown as Approval;
}

/** Every claim has to be there, and of its type: `"yes"` is not `true`, and a list is no audience. */
export function readClaims(body: unknown): Claims {
  if (!isObject(body)) throw new InvalidToken('malformed');
  const texts = ['iss', 'sub', 'aud', 'jti', 'status', 'action', 'payload_sha256'];
  const whole = ['iat', 'exp'].every((name) => Number.isSafeInteger(body[name]));
  const rule = body['rule'] ?? null;
  if (
    !whole || !texts.every((name) => typeof body[name] === 'string') || typeof body['approved'] !== 'boolean' ||
    !isTexts(body['decided_by']) || !(rule === null || typeof rule === 'string')
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
