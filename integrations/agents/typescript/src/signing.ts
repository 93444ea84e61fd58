/** How a client signs what it sends (`placet-v1`). */

import { createHmac } from 'node:crypto';

import { sha256 } from './canonical.ts';

/** `v1=<hex>`: HMAC-SHA256, keyed with the secret's text as it is printed. */
export function signature(secret: string, timestamp: number, method: string, pathAndQuery: string, body: string): string {
  const text = `placet-v1\n${timestamp}\n${method}\n${pathAndQuery}\n${sha256(body)}`;
  return `v1=${createHmac('sha256', secret).update(text).digest('hex')}`;
}

/** The three headers. While a secret rotates, every secret that is held signs. */
export function signedHeaders(
  client: string, secrets: readonly string[], timestamp: number, method: string, pathAndQuery: string, body: string,
): Record<string, string> {
  return {
    'X-Placet-Client': client,
    'X-Placet-Timestamp': String(timestamp),
    'X-Signature': secrets.map((secret) => signature(secret, timestamp, method, pathAndQuery, body)).join(', '),
  };
}
