/** Generated from crates/http/openapi.json by integrations/agents/scripts/generate_approval.py: do not edit. */

export const STATUSES = ['pending', 'approved', 'rejected', 'expired', 'cancelled'] as const;

export type Status = (typeof STATUSES)[number];

/** The fields that may be missing on the wire, or null: a reader makes them null. */
export const NULLABLE = ['changes', 'deadline', 'decided_at', 'payload', 'pending_twin', 'reason', 'rule', 'stage', 'token'] as const;

/** One reviewer's word. */
export interface Vote {
  /** `approve` or `reject`. */
  decision: string;
  /** Who. */
  reviewer: string;
  /** When. */
  voted_at: string;
  /** Why. */
  reason: string | null;
}

/** An approval: what every response, callback and hook carries. */
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
  /** Who ended it: reviewer ids, `policy:<rule>`, `timeout:<rule>` or `client:<id>`. */
  decided_by: string[];
  /** The caller's labels, as they came. */
  metadata: Record<string, string>;
  /** Hex SHA-256 of the payload's canonical JSON (RFC 8785). */
  payload_sha256: string;
  /** The client's name for the request. */
  request_id: string;
  /** `pending`, `approved`, `rejected`, `expired` or `cancelled`. */
  status: Status;
  /** Where the client can ask again. */
  status_url: string;
  /** The agent's own words. */
  summary: string;
  /** The gate's own words for it, made from the payload. */
  title: string;
  /** Who has spoken. */
  votes: Vote[];
  /** What a reviewer has changed, in words, by the path of the field: only where one has. */
  changes: Record<string, string> | null;
  /** When it ends at the latest; null where policy decided alone. */
  deadline: string | null;
  /** When it ended. */
  decided_at: string | null;
  /** What is approved, where a reviewer has changed what was asked: act on this, and verify the token with it. */
  payload: Record<string, unknown> | null;
  /**
   * An older request of the same client, with the same action and payload, that still waits. Only in the answer to
   * a new request.
   */
  pending_twin: string | null;
  /** Why, in the decider's words. */
  reason: string | null;
  /** The policy's rule that applied; null where none matched. */
  rule: string | null;
  /** Number of the stage that asks, or asked last, from 1; null where policy decided alone. */
  stage: number | null;
  /** The decision token, once it has ended. An auditor's hook does not get it. */
  token: string | null;
}
