// What the two instant triggers share: subscribing, and believing nothing that was merely posted to Zapier.

import type { Bundle, ZObject } from 'zapier-platform-core';

import { type Approval, type Output, isApproval, outputOf } from '../approval.js';
import { call, find, json, list } from '../gate.js';
import { isRecord } from '../problem.js';
import { newNameOfRun } from '../run.js';
import { isSignedByGate } from './webhook_signature.js';

/** The events of the gate. */
export type Event = 'approval.requested' | 'approval.decided';

type Item = Output & { id: string };

const LIST_FOR_SAMPLES = 25;

/** The functions of an instant trigger for that event. */
export function hookFor(event: Event) {
  const concerns = (approval: Approval) => event === 'approval.requested' || approval.status !== 'pending';
  return {
    /** The gate knows a URL and its events by one subscription, so a Zap that is turned on twice hears once. */
    async performSubscribe(z: ZObject, bundle: Bundle): Promise<{ hook_id: string }> {
      const body = json({ url: bundle.targetUrl, events: [event] });
      const { data } = await call(z, bundle, { method: 'POST', path: '/v1/hooks', body });
      const hookId = isRecord(data) ? data['hook_id'] : undefined;
      if (typeof hookId !== 'string') throw new z.errors.Error('What answered at the Gate URL is not a Placet gate.', 'not_a_gate');
      return { hook_id: hookId };
    },

    /** One that is gone already is as good as ended. */
    async performUnsubscribe(z: ZObject, bundle: Bundle): Promise<{ hook_id: string }> {
      const subscribed: unknown = bundle.subscribeData;
      const hookId = isRecord(subscribed) ? String(subscribed['hook_id'] ?? '') : '';
      const path = `/v1/hooks/${encodeURIComponent(hookId)}`;
      await call(z, bundle, { method: 'DELETE', path, expected: [404] });
      return { hook_id: hookId };
    },

    async perform(z: ZObject, bundle: Bundle): Promise<Item[]> {
      const posted: unknown = bundle.cleanedRequest;
      if (!isRecord(posted) || posted['type'] !== event || !isApproval(posted['data'])) return [];
      const approval = await confirmed(z, bundle, posted['data']);
      if (approval === undefined || !concerns(approval)) return [];
      // The gate tells at least once, so one decision may start two runs: each gets a name of its own, to redeem under.
      return [event === 'approval.decided' ? { ...itemOf(approval), run: newNameOfRun() } : itemOf(approval)];
    },

    /** Real approvals for the editor. An auditor has none of its own, and gets the sample. */
    async performList(z: ZObject, bundle: Bundle): Promise<Item[]> {
      const approvals = await list(z, bundle, LIST_FOR_SAMPLES);
      return approvals.filter(concerns).map(itemOf);
    },
  };
}

function itemOf(approval: Approval): Item {
  return { ...outputOf(approval), id: approval.approval_id };
}

/**
 * The approval that a post speaks of, if it is real.
 *
 * The client's own are read again from the gate. An auditor also hears of other clients' requests, which it cannot read:
 * there the gate's signature must be good. It has no time limit here, because Zapier may hold a post for days.
 */
async function confirmed(z: ZObject, bundle: Bundle, posted: Approval): Promise<Approval | undefined> {
  const client = (bundle.authData['client_id'] ?? '').trim();
  if (posted.client === client) {
    const approval = await find(z, bundle, posted.request_id);
    return approval?.approval_id === posted.approval_id ? approval : undefined;
  }
  if (!isSignedByGate(bundle.rawRequest, (bundle.authData['client_secret'] ?? '').trim())) return undefined;
  return { ...posted, token: null };
}
