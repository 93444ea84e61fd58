// Standard Webhooks (standardwebhooks.com): whether a post was signed with the client's secret.

import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Bundle } from 'zapier-platform-core';

/** Checks the signature over the raw body. Zapier hands headers on as they came, or with `Http-` before their name. */
export function isSignedByGate(request: Bundle['rawRequest'], secret: string): boolean {
  const headers = new Map(
    Object.entries(request?.headers ?? {}).map(([name, value]) => [name.toLowerCase().replace(/^http-/u, ''), String(value)]),
  );
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => headers.get(name));
  const body = request?.content;
  if (id === undefined || timestamp === undefined || signatures === undefined || typeof body !== 'string') return false;
  const key = Buffer.from(secret.replace(/^whsec_/u, ''), 'base64');
  if (key.length === 0) return false;
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest();
  return signatures.split(' ').some((signature) => {
    const [version, value = ''] = signature.split(',');
    const given = Buffer.from(value, 'base64');
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
}
