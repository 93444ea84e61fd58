// Made by scripts/approval.js from crates/http/openapi.json (`npm run approval`). Do not change it by hand.

export const STATUSES = ['pending', 'approved', 'rejected', 'expired', 'cancelled'] as const;

/** How a request stands. */
export type Status = (typeof STATUSES)[number];

/** One reviewer's word. */
export interface Vote {
  /** `approve` or `reject`. */
  decision: string;
  /** Why. */
  reason: string | null;
  /** Who. */
  reviewer: string;
  /** When. */
  voted_at: string;
}

/** What the gate answers. A property that may be missing in its JSON is null here. */
export interface Approval {
  /** Dotted name of what will be done. */
  action: string;
  /** The gate's name for it, a ULID. */
  approval_id: string;
  /** True only for `approved`. */
  approved: boolean;
  /** Who asked. */
  client: string;
  /** When it was taken. */
  created_at: string;
  /** When it ends at the latest; null where policy decided alone. */
  deadline: string | null;
  /** When it ended. */
  decided_at: string | null;
  /** Who ended it: reviewer ids, `policy:<rule>`, `timeout:<rule>` or `client:<id>`. */
  decided_by: string[];
  /** The caller's labels, as they came. */
  metadata: Record<string, string>;
  /** Hex SHA-256 of the payload's canonical JSON (RFC 8785). */
  payload_sha256: string;
  /** Why, in the decider's words. */
  reason: string | null;
  /** The client's name for the request. */
  request_id: string;
  /** The policy's rule that applied; null where none matched. */
  rule: string | null;
  /** Number of the stage that asks, or asked last, from 1; null where policy decided alone. */
  stage: number | null;
  /** `pending`, `approved`, `rejected`, `expired` or `cancelled`. */
  status: Status;
  /** Where the client can ask again. */
  status_url: string;
  /** The agent's own words. */
  summary: string;
  /** The gate's own words for it, made from the payload. */
  title: string;
  /** The decision token, once it has ended. An auditor's hook does not get it. */
  token: string | null;
  /** Who has spoken. */
  votes: Vote[];
}

/** A property, and what it holds. */
export interface Property {
  name: string;
  kind: 'status' | 'string' | 'datetime' | 'boolean' | 'integer' | 'strings' | 'votes' | 'labels' | 'object';
  nullable: boolean;
}

export const APPROVAL_PROPERTIES: readonly Property[] = [
  { name: 'action', kind: 'string', nullable: false },
  { name: 'approval_id', kind: 'string', nullable: false },
  { name: 'approved', kind: 'boolean', nullable: false },
  { name: 'client', kind: 'string', nullable: false },
  { name: 'created_at', kind: 'datetime', nullable: false },
  { name: 'deadline', kind: 'datetime', nullable: true },
  { name: 'decided_at', kind: 'datetime', nullable: true },
  { name: 'decided_by', kind: 'strings', nullable: false },
  { name: 'metadata', kind: 'labels', nullable: false },
  { name: 'payload_sha256', kind: 'string', nullable: false },
  { name: 'reason', kind: 'string', nullable: true },
  { name: 'request_id', kind: 'string', nullable: false },
  { name: 'rule', kind: 'string', nullable: true },
  { name: 'stage', kind: 'integer', nullable: true },
  { name: 'status', kind: 'status', nullable: false },
  { name: 'status_url', kind: 'string', nullable: false },
  { name: 'summary', kind: 'string', nullable: false },
  { name: 'title', kind: 'string', nullable: false },
  { name: 'token', kind: 'string', nullable: true },
  { name: 'votes', kind: 'votes', nullable: false },
];

export const VOTE_PROPERTIES: readonly Property[] = [
  { name: 'decision', kind: 'string', nullable: false },
  { name: 'reason', kind: 'string', nullable: true },
  { name: 'reviewer', kind: 'string', nullable: false },
  { name: 'voted_at', kind: 'datetime', nullable: false },
];
