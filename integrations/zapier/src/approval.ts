// The one shape that every step and trigger of this app puts out: the gate's approval, and what a token check found.

import type { PlainOutputField, ZObject } from 'zapier-platform-core';

import { isRecord } from './problem.js';

const STATUSES = ['pending', 'approved', 'rejected', 'expired', 'cancelled'] as const;

/** How a request stands. */
export type Status = (typeof STATUSES)[number];

/** One reviewer's word. */
export interface Vote {
  reviewer: string;
  decision: string;
  reason: string | null;
  voted_at: string;
}

/** What the gate answers. */
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
  votes: Vote[];
  token: string | null;
  status_url: string;
}

/** What a step found out about a token; null where it did not look. */
export interface TokenCheck {
  token_valid: boolean | null;
  token_problem: string | null;
  token_first_use: boolean | null;
}

/** What a step puts out. Without an approval (a token of nothing), its fields are null or empty, and `approved` is false. */
export type Output = { id: string | null } & { [Key in keyof Approval]: Approval[Key] | null } & { approved: boolean } & TokenCheck;

const NOT_CHECKED: TokenCheck = { token_valid: null, token_problem: null, token_first_use: null };

const NO_APPROVAL: { [Key in keyof Approval]: Approval[Key] | null } & { approved: boolean } = {
  request_id: null, approval_id: null, client: null, status: null, approved: false, action: null, summary: null,
  payload_sha256: null, metadata: {}, rule: null, stage: null, created_at: null, deadline: null, decided_at: null,
  decided_by: [], reason: null, votes: [], token: null, status_url: null,
};

/** The gate's answer as an approval. Whatever is not exactly one is an error: nothing is approved by a misreading. */
export function approvalIn(z: ZObject, data: unknown): Approval {
  if (!isApproval(data)) throw new z.errors.Error('What answered at the Gate URL is not a Placet gate. Nothing was approved.', 'not_a_gate');
  const known = Object.keys(NO_APPROVAL) as (keyof Approval)[];
  return Object.fromEntries(known.map((key) => [key, data[key]])) as unknown as Approval;
}

/** Whether a value is an approval, and says the same thing in both of the fields that say how it stands. */
export function isApproval(data: unknown): data is Approval {
  if (!isRecord(data)) return false;
  const texts = ['request_id', 'approval_id', 'client', 'action', 'summary', 'payload_sha256', 'created_at', 'status_url'];
  return (
    texts.every((key) => typeof data[key] === 'string') &&
    STATUSES.some((status) => status === data['status']) &&
    data['approved'] === (data['status'] === 'approved') &&
    isRecord(data['metadata']) &&
    Array.isArray(data['decided_by']) &&
    Array.isArray(data['votes'])
  );
}

/** An approval as a step puts it out. */
export function outputOf(approval: Approval | undefined, checked: Partial<TokenCheck> = {}): Output {
  return { id: approval?.approval_id ?? null, ...(approval ?? NO_APPROVAL), ...NOT_CHECKED, ...checked };
}

/** What the Zap editor shows before there is a real answer. */
export const SAMPLE: Output = {
  id: '01KAWWBPK4D4FVV0ASBVFXJR7Q',
  request_id: 'refund-1001',
  approval_id: '01KAWWBPK4D4FVV0ASBVFXJR7Q',
  client: 'zapier',
  status: 'approved',
  approved: true,
  action: 'refund.create',
  summary: 'Refund order 1001 to Ada, who got a broken cup.',
  payload_sha256: '688f93c65999b87be72da25d898589209df7a7c722f9bfcaa42c916c54020fe1',
  metadata: { team: 'support' },
  rule: 'refunds',
  stage: 1,
  created_at: '2026-11-25T09:00:00.000Z',
  deadline: '2026-11-25T10:00:00.000Z',
  decided_at: '2026-11-25T09:01:30.000Z',
  decided_by: ['bob'],
  reason: 'The photo shows the damage.',
  votes: [{ reviewer: 'bob', decision: 'approve', reason: 'The photo shows the damage.', voted_at: '2026-11-25T09:01:30.000Z' }],
  token: 'eyJ0eXAiOiJwbGFjZXQrand0IiwiYWxnIjoiSFMyNTYifQ.eyJzYW1wbGUiOnRydWV9.c2FtcGxl',
  status_url: 'https://gate.example.com/v1/requests/refund-1001',
  token_valid: true,
  token_problem: null,
  token_first_use: null,
};

/** The same sample, as it was before anybody decided. */
export const PENDING_SAMPLE: Output = {
  ...SAMPLE,
  status: 'pending', approved: false, decided_at: null, decided_by: [], reason: null, votes: [], token: null, token_valid: null,
};

/** What the fields are called in the Zap editor. */
export const OUTPUT_FIELDS: PlainOutputField[] = [
  { key: 'id', label: 'Approval Number', type: 'string' },
  { key: 'request_id', label: 'Request Key', type: 'string' },
  { key: 'approval_id', label: 'Approval Number in the Gate', type: 'string' },
  { key: 'client', label: 'Client', type: 'string' },
  { key: 'status', label: 'Status', type: 'string' },
  { key: 'approved', label: 'Approved', type: 'boolean' },
  { key: 'action', label: 'Action', type: 'string' },
  { key: 'summary', label: 'Summary', type: 'string' },
  { key: 'payload_sha256', label: 'Details Digest', type: 'string' },
  { key: 'metadata', label: 'Labels', dict: true },
  { key: 'rule', label: 'Policy Rule', type: 'string' },
  { key: 'stage', label: 'Stage', type: 'integer' },
  { key: 'created_at', label: 'Asked At', type: 'datetime' },
  { key: 'deadline', label: 'Deadline', type: 'datetime' },
  { key: 'decided_at', label: 'Decided At', type: 'datetime' },
  { key: 'decided_by', label: 'Decided By', type: 'string', list: true },
  { key: 'reason', label: 'Reason', type: 'string' },
  { key: 'votes[]reviewer', label: 'Vote Reviewer', type: 'string' },
  { key: 'votes[]decision', label: 'Vote Decision', type: 'string' },
  { key: 'votes[]reason', label: 'Vote Reason', type: 'string' },
  { key: 'votes[]voted_at', label: 'Voted At', type: 'datetime' },
  { key: 'token', label: 'Decision Token', type: 'string' },
  { key: 'status_url', label: 'Status URL', type: 'string' },
  { key: 'token_valid', label: 'Token Is Valid', type: 'boolean' },
  { key: 'token_problem', label: 'Token Problem', type: 'string' },
  { key: 'token_first_use', label: 'Token Used for the First Time', type: 'boolean' },
];
