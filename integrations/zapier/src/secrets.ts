// What must never reach a reviewer's page: tokens and outcomes of an earlier Placet step, secrets of a gate's client, and
// what opens other doors, as the headers of a caught webhook hold it.
//
// A page goes to a person, by mail or chat, through programs that keep what they see. A token on it can be used, and an
// earlier "approved" on it can be taken for this one.

import { isRecord } from './problem.js';

/** The beginning of a token, which may have been cut. It is looked for where a word begins, or long texts would take minutes. */
const JWT = /(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}/gu;
const LONGEST_HEADER = 512;
const CLIENT_SECRET = /whsec_[A-Za-z0-9+/_-]{20,}/u;
/** What follows `Authorization:`, wherever it stands. */
const CREDENTIAL = /\b(bearer|basic)\s{1,8}[A-Za-z0-9+/_.~=-]{16,}/iu;
/** Names under which only a credential is found. */
const CREDENTIAL_NAME = /^(http[-_])?((proxy[-_])?authorization|(set[-_])?cookie|x?[-_]?api[-_ ]?key|password|client[-_]secret|(access|refresh)[-_]token)$/iu;
const BLANKS = /[\s\u00ad\u200b-\u200d\u2060\ufeff]+/gu;

/** Properties that together are only found in what a Placet step hands on. */
const OUTCOME = ['approval_id', 'payload_sha256', 'approved', 'status'];

/** What a text holds that nobody must see, in words; undefined if there is none. */
export function secretIn(text: string): string | undefined {
  // Mail programs and editors break long words; what is left can still be put together.
  for (const whole of new Set([text, text.replace(BLANKS, '')])) {
    if ((whole.match(JWT) ?? []).some(isDecisionToken)) return 'a decision token of an earlier Placet step';
    if (CLIENT_SECRET.test(whole)) return 'the secret of a client of the gate';
  }
  if (CREDENTIAL.test(text)) return 'a credential';
  return undefined;
}

function isDecisionToken(word: string): boolean {
  // Letters may stand before a token without a gap, so every place at which a header could begin is tried.
  const [head = ''] = word.split('.');
  for (let start = head.indexOf('eyJ'); start !== -1; start = head.indexOf('eyJ', start + 1)) {
    const header = Buffer.from(head.slice(start, start + LONGEST_HEADER), 'base64url').toString('utf8');
    if (/"typ"\s*:\s*"placet\+jwt"/iu.test(header)) return true;
  }
  return false;
}

/** Where a JSON value holds one of these, and what it is: `Details.note holds …`; undefined if it holds none. */
export function secretWithin(value: unknown, path: string): string | undefined {
  if (typeof value === 'string') {
    const found = secretIn(value) ?? outcomeIn(value);
    return found === undefined ? undefined : `${path} holds ${found}`;
  }
  if (Array.isArray(value)) return firstOf(value.map((item, index) => () => secretWithin(item, `${path}[${index}]`)));
  if (!isRecord(value)) return undefined;
  if (isOutcome(value)) return `${path} holds the outcome of an earlier Placet step`;
  return firstOf(
    Object.entries(value).map(([name, inner]) => () => {
      if (secretIn(name) !== undefined) return `A name in ${path} holds ${secretIn(name)}`;
      const isCredential = CREDENTIAL_NAME.test(name.trim()) && inner !== null && inner !== '' && typeof inner !== 'boolean';
      return isCredential ? `${path}.${name} holds a credential` : secretWithin(inner, `${path}.${name}`);
    }),
  );
}

function isOutcome(value: Record<string, unknown>): boolean {
  return OUTCOME.every((name) => name in value);
}

/** A whole outcome may come as the JSON text that a Code step made of it. */
function outcomeIn(text: string): string | undefined {
  if (!text.includes('payload_sha256')) return undefined;
  return OUTCOME.every((name) => new RegExp(`["'\\s]${name}["'\\s]*[:=]`, 'u').test(` ${text}`)) ? 'the outcome of an earlier Placet step' : undefined;
}

function firstOf(tries: (() => string | undefined)[]): string | undefined {
  for (const attempt of tries) {
    const found = attempt();
    if (found !== undefined) return found;
  }
  return undefined;
}
