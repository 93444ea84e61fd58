/** Why something may not be done. Everything here means: do not act. */

import type { Approval } from './approval.ts';

/** Any reason not to act. Catch this one, and nothing was approved. */
export class PlacetError extends Error {
  override name = 'PlacetError';
}

/** The request ended without an approval. */
export class NotApproved extends PlacetError {
  override name = 'NotApproved';
  /** Not listed among its properties: it holds a token, and errors are printed whole. */
  declare readonly approval: Approval;

  constructor(approval: Approval, message?: string) {
    const by = approval.decided_by.length > 0 ? ` by ${approval.decided_by.join(', ')}` : '';
    const why = approval.reason === null ? '' : `: ${approval.reason}`;
    super(message ?? `${approval.request_id} was ${approval.status}${by}${why}`);
    Object.defineProperty(this, 'approval', { value: approval, enumerable: false });
  }
}

/** Nobody answered in time: it expired, or this program stopped waiting and withdrew it. */
export class TimedOut extends NotApproved {
  override name = 'TimedOut';
}

/** The token does not allow this. `problem` is the gate's own code, such as `payload_mismatch`. */
export class InvalidToken extends PlacetError {
  override name = 'InvalidToken';
  readonly problem: string;

  constructor(problem: string) {
    super(`the approval token is not valid for this: ${problem}`);
    this.problem = problem;
  }
}

/** The receipt proves nothing. `problem` is the code that `placet audit verify` gives, such as `not_in_log`. */
export class InvalidReceipt extends PlacetError {
  override name = 'InvalidReceipt';
  readonly problem: string;

  constructor(problem: string) {
    super(`the receipt is not valid: ${problem}`);
    this.problem = problem;
  }
}

/** The arguments are not JSON that every program reads alike. */
export class InvalidPayload extends PlacetError {
  override name = 'InvalidPayload';
}

/** Not from the gate, too old, or changed on the way. */
export class InvalidCallback extends PlacetError {
  override name = 'InvalidCallback';
}

/** The gate gave no answer, or one that no gate gives. `final`: trying again would not help. */
export class Unreachable extends PlacetError {
  override name = 'Unreachable';
  readonly final: boolean;

  constructor(message: string, options: { cause?: unknown; final?: boolean } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.final = options.final ?? false;
  }
}

/** The gate refused the call (RFC 9457). `code` is stable, such as `request_id_conflict`. */
export class GateError extends PlacetError {
  override name = 'GateError';
  readonly status: number;
  readonly code: string;
  readonly problem: Record<string, unknown>;

  constructor(status: number, code: string, problem: Record<string, unknown>) {
    super(`${String(problem['detail'] ?? problem['title'] ?? 'refused')} (${code})`);
    this.status = status;
    this.code = code;
    this.problem = problem;
  }
}
