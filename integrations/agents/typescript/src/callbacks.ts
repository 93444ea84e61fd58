/** Callbacks of the gate: Standard Webhooks, signed with the client's secret. */

import { Webhook } from 'standardwebhooks';

import { isObject, readApproval, type Approval } from './approval.ts';
import { InvalidCallback } from './errors.ts';

/** The approval in a callback. Use its token as any other: a callback may come twice. */
export function readCallback(secret: string, headers: Record<string, string>, body: string): Approval {
  let event: unknown;
  try {
    const lower = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
    event = new Webhook(secret).verify(body, lower);
  } catch (error) {
    throw new InvalidCallback(error instanceof Error ? error.message : 'not a callback');
  }
  if (!isObject(event) || !['approval.requested', 'approval.decided'].includes(String(event['type']))) {
    throw new InvalidCallback("not an approval's event");
  }
  return readApproval(event['data']);
}
