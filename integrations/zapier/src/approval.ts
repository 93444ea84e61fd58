// The one shape that every step and trigger of this app puts out: the gate's approval, and what this run found out.
//
// The approval's properties are those of the gate's OpenAPI document (`approval_contract.ts` is made from it).

import type { PlainOutputField, ZObject } from 'zapier-platform-core';

import { APPROVAL_PROPERTIES, type Approval, type Property, STATUSES, VOTE_PROPERTIES } from './approval_contract.js';
import { isRecord } from './problem.js';

export type { Approval, Status, Vote } from './approval_contract.js';

/** What a step found out about a token; null where it did not look. */
export interface TokenCheck {
  token_valid: boolean | null;
  token_problem: string | null;
  /** Whether the approval is used by this run, and by no other. */
  token_first_use: boolean | null;
}

/** What a step puts out. Without an approval (a token of nothing), its fields are null or empty, and `approved` is false. */
export type Output = { id: string | null; run: string | null } & { [Key in keyof Approval]: Approval[Key] | null } & { approved: boolean } & TokenCheck;

const NOT_CHECKED: TokenCheck = { token_valid: null, token_problem: null, token_first_use: null };

/** Without these, an answer is no approval, whichever version of the gate gave it. */
const ALWAYS_THERE = ['request_id', 'approval_id', 'client', 'action', 'summary', 'payload_sha256', 'created_at', 'status_url', 'metadata', 'decided_by', 'votes'];

/** The gate's answer as an approval. Whatever is not exactly one is an error: nothing is approved by a misreading. */
export function approvalIn(z: ZObject, data: unknown): Approval {
  if (!isApproval(data)) throw new z.errors.Error('What answered at the Gate URL is not a Placet gate. Nothing was approved.', 'not_a_gate');
  const answer: Record<string, unknown> = { ...data };
  return Object.fromEntries(APPROVAL_PROPERTIES.map(({ name, kind }) => [name, answer[name] ?? emptyOf(kind)])) as unknown as Approval;
}

/** Whether a value is an approval, and says the same thing in both of the fields that say how it stands. */
export function isApproval(data: unknown): data is Approval {
  return (
    isRecord(data) &&
    ALWAYS_THERE.every((name) => data[name] !== undefined && data[name] !== null) &&
    APPROVAL_PROPERTIES.every(({ name, kind }) => data[name] === undefined || data[name] === null || isOf(kind, data[name])) &&
    STATUSES.some((status) => status === data['status']) &&
    data['approved'] === (data['status'] === 'approved')
  );
}

function isOf(kind: Property['kind'], value: unknown): boolean {
  switch (kind) {
    case 'status':
    case 'string':
    case 'datetime':
      return typeof value === 'string';
    case 'boolean':
      return typeof value === 'boolean';
    case 'integer':
      return Number.isSafeInteger(value);
    case 'strings':
      return Array.isArray(value) && value.every((one) => typeof one === 'string');
    case 'votes':
      return Array.isArray(value) && value.every(isRecord);
    case 'object':
      return isRecord(value);
    case 'labels':
      return isRecord(value) && Object.values(value).every((one) => typeof one === 'string');
  }
}

function emptyOf(kind: Property['kind']): unknown {
  if (kind === 'labels') return {};
  return kind === 'strings' || kind === 'votes' ? [] : null;
}

const NO_APPROVAL = {
  ...Object.fromEntries(APPROVAL_PROPERTIES.map(({ name, kind }) => [name, emptyOf(kind)])), approved: false,
} as unknown as { [Key in keyof Approval]: Approval[Key] | null } & { approved: boolean };

/** An approval as a step puts it out. `found` is what this run found out about it. */
export function outputOf(approval: Partial<Approval> | undefined, found: Partial<TokenCheck & { run: string }> = {}): Output {
  return { id: approval?.approval_id ?? null, run: null, ...NO_APPROVAL, ...approval, ...NOT_CHECKED, ...found };
}

/** How the fields are called in the Zap editor, in the order in which it lists them, with a value for its sample. */
const SHOWN: Readonly<Record<string, [label: string, sample: unknown]>> = {
  request_id: ['Request Key', 'refund-1001'],
  approval_id: ['Approval Number in the Gate', '01KAWWBPK4D4FVV0ASBVFXJR7Q'],
  client: ['Client', 'zapier'],
  status: ['Status', 'approved'],
  approved: ['Approved', true],
  action: ['Action', 'refund.create'],
  title: ['Title', 'Refund EUR 250.00 to ada@example.com'],
  summary: ['Summary', 'Refund order 1001 to Ada, who got a broken cup.'],
  payload_sha256: ['Details Digest', '688f93c65999b87be72da25d898589209df7a7c722f9bfcaa42c916c54020fe1'],
  metadata: ['Labels', { team: 'support' }],
  rule: ['Policy Rule', 'payments'],
  stage: ['Stage', 1],
  created_at: ['Asked At', '2026-11-25T09:00:00.000Z'],
  deadline: ['Deadline', '2026-11-25T10:00:00.000Z'],
  decided_at: ['Decided At', '2026-11-25T09:01:30.000Z'],
  decided_by: ['Decided By', ['bob']],
  reason: ['Reason', 'The photo shows the damage.'],
  votes: ['Votes', [{ reviewer: 'bob', decision: 'approve', reason: 'The photo shows the damage.', voted_at: '2026-11-25T09:01:30.000Z' }]],
  token: ['Decision Token', 'eyJ0eXAiOiJwbGFjZXQrand0IiwiYWxnIjoiRWREU0EifQ.eyJzYW1wbGUiOnRydWV9.c2FtcGxl'],
  status_url: ['Status URL', 'https://gate.example.com/v1/requests/refund-1001'],
};

const VOTE_LABELS: Readonly<Record<string, string>> = {
  reviewer: 'Vote Reviewer', decision: 'Vote Decision', reason: 'Vote Reason', voted_at: 'Voted At',
};

/** A property that this list does not know yet still gets a name and a place. */
const inWords = (name: string) => name.split('_').map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(' ');

const order = Object.keys(SHOWN);
const place = ({ name }: Property) => (order.includes(name) ? order.indexOf(name) : order.length);
const SORTED = [...APPROVAL_PROPERTIES].sort((one, other) => place(one) - place(other));

const voteOrder = Object.keys(VOTE_LABELS);
const VOTES_SORTED = [...VOTE_PROPERTIES].sort((one, other) => voteOrder.indexOf(one.name) - voteOrder.indexOf(other.name));

/** What the Zap editor shows before there is a real answer. */
export const SAMPLE: Output = outputOf(
  Object.fromEntries(SORTED.map(({ name, kind }) => [name, SHOWN[name]?.[1] ?? emptyOf(kind)])) as Partial<Approval>,
  { run: 'zap-run-5b0c7f2e9d3a4186b7e05d1c92f8a364', token_valid: true },
);

/** The same sample, as it was before anybody decided. */
export const PENDING_SAMPLE: Output = {
  ...SAMPLE,
  run: null, status: 'pending', approved: false, decided_at: null, decided_by: [], reason: null, votes: [], token: null, token_valid: null,
};

/** What the fields are called in the Zap editor. */
export const OUTPUT_FIELDS: PlainOutputField[] = [
  { key: 'id', label: 'Approval Number', type: 'string' },
  ...SORTED.flatMap(fieldsFor),
  { key: 'run', label: 'Run', type: 'string' },
  { key: 'token_valid', label: 'Token Is Valid', type: 'boolean' },
  { key: 'token_problem', label: 'Token Problem', type: 'string' },
  { key: 'token_first_use', label: 'Token Used by This Run Alone', type: 'boolean' },
];

function fieldsFor({ name, kind }: Property): PlainOutputField[] {
  const label = SHOWN[name]?.[0] ?? inWords(name);
  switch (kind) {
    case 'votes':
      return VOTES_SORTED.map((column) => ({
        ...fieldsFor({ ...column, name: `${name}[]${column.name}` })[0],
        key: `${name}[]${column.name}`,
        label: VOTE_LABELS[column.name] ?? `Vote ${inWords(column.name)}`,
      }));
    case 'labels':
    case 'object':
      return [{ key: name, label, dict: true }];
    case 'strings':
      return [{ key: name, label, type: 'string', list: true }];
    case 'status':
      return [{ key: name, label, type: 'string' }];
    case 'string':
    case 'boolean':
    case 'integer':
    case 'datetime':
      return [{ key: name, label, type: kind }];
  }
}
