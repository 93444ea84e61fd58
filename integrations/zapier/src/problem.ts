// The gate's refusals (RFC 9457), read without trust: something else may have answered in its place.

/** What the gate says is wrong. */
export interface Problem {
  /** Its stable name. */
  code: string;
  /** One sentence, without a full stop. */
  detail: string;
  /** A sentence for each bad field, in the words of the Zap editor. */
  fields: string[];
  /** How the request had ended, with `already_decided`. */
  approval: unknown;
  /** Who used the token, with `already_redeemed`. */
  redeemedBy: string | undefined;
}

/** The gate's names of fields, as the Zap editor labels them. */
const LABELS: Readonly<Record<string, string>> = {
  action: 'Action',
  callback_url: 'The way back to this run',
  metadata: 'Labels',
  payload: 'Details',
  redeemed_by: 'Used By',
  request_id: 'Request Key',
  summary: 'Summary',
  timeout_seconds: 'Wait Limit',
  token: 'Decision Token',
};

/** The problem in an answer; undefined if it holds none. */
export function problemOf(data: unknown): Problem | undefined {
  if (!isRecord(data) || typeof data['code'] !== 'string') return undefined;
  const errors: unknown[] = Array.isArray(data['errors']) ? data['errors'] : [];
  return {
    code: data['code'],
    detail: typeof data['detail'] === 'string' ? data['detail'] : data['code'],
    fields: errors.filter(isRecord).map(({ field, message }) => `${labelled(String(field))} ${String(message)}.`),
    approval: data['approval'],
    redeemedBy: typeof data['redeemed_by'] === 'string' ? data['redeemed_by'] : undefined,
  };
}

function labelled(field: string): string {
  const [, top = '', rest = ''] = /^([a-z_]+)(.*)$/su.exec(field) ?? [];
  return `${LABELS[top] ?? top}${rest}`;
}

/** Whether a value is a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
