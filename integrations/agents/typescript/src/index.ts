/**
 * Placet: a person approves before your program acts.
 *
 * `Placet` is a client of a gate; `requireApproval` gates a function; `Executor` verifies without a secret. The
 * adapters are entries of their own: `placet/openai`, `placet/openai-agents`, `placet/anthropic`, `placet/claude-agent`.
 */

export type { Approval, Claims, Status, Vote } from './approval.ts';
export { readCallback } from './callbacks.ts';
export { canonical, digest, type Payload } from './canonical.ts';
export { Placet, type Authorized, type Errand, type PlacetOptions, type Question, type Verdict } from './client.ts';
export {
  GateError, InvalidCallback, InvalidPayload, InvalidReceipt, InvalidToken, NotApproved, PlacetError, TimedOut, Unreachable,
} from './errors.ts';
export { Executor, type ExecutorOptions } from './executor.ts';
export { verifyReceipt, type ReceiptOptions, type VerifiedReceipt } from './receipts.ts';
export { requireApproval, requireToken, type ApprovalOptions, type TokenUser } from './gated.ts';
