// How a builder connects a gate: its address, and the client that Zapier is there.

import type { Authentication, Bundle, ZObject } from 'zapier-platform-core';

import { call, json } from './gate.js';
import { addressOf } from './gate_address.js';
import { isRecord, problemOf } from './problem.js';
import { allowedActions, isActionPattern } from './question.js';

/** Allowed Actions that could never match would let nothing through, and nobody would know why. */
function checkAllowedActions(z: ZObject, bundle: Bundle): void {
  const wrong = allowedActions(bundle).find((one) => !isActionPattern(one));
  if (wrong !== undefined) throw new z.errors.Error(`Allowed Actions: "${wrong}" is no action. Write names such as refund.create, or refund.* for all that begin so.`, 'bad_allowed_actions');
}

/**
 * A question about a token that is none changes nothing. A gate that answers, or that says that this client may not ask, has
 * taken the signature; whatever is wrong with it is another refusal.
 */
async function test(z: ZObject, bundle: Bundle): Promise<{ client: string; gate: string }> {
  checkAllowedActions(z, bundle);
  const response = await call(z, bundle, { method: 'POST', path: '/v1/tokens/verify', body: json({ token: 'connection-test' }), expected: [403] });
  const answered = response.status === 403 ? problemOf(response.data)?.code === 'forbidden' : isRecord(response.data) && response.data['valid'] === false;
  if (!answered) throw new z.errors.Error('What answered at the Gate URL is not a Placet gate.', 'not_a_gate');
  return { client: (bundle.authData['client_id'] ?? '').trim(), gate: new URL(addressOf(z, bundle)).host };
}

/** How the connection is called in lists. The platform hands the test's answer in as `inputData`. */
async function connectionLabel(_: ZObject, { inputData }: Bundle): Promise<string> {
  return `${String(inputData['client'])} at ${String(inputData['gate'])}`;
}

export const authentication: Authentication = {
  type: 'custom',
  fields: [
    {
      key: 'gate_url',
      label: 'Gate URL',
      type: 'string',
      required: true,
      placeholder: 'https://gate.example.com',
      helpText: 'The address of your Placet gate. It begins with https:// and ends after the host name.',
    },
    {
      key: 'client_id',
      label: 'Client',
      type: 'string',
      required: true,
      placeholder: 'zapier',
      isNoSecret: true,
      helpText: 'The name that Zapier has in the policy of your gate: the `id` of its `[[clients]]` entry.',
    },
    {
      key: 'client_secret',
      label: 'Client Secret',
      type: 'password',
      required: true,
      helpText: 'The last line that `placet client secret zapier` prints on the machine of your gate.',
    },
    {
      key: 'allowed_actions',
      label: 'Allowed Actions',
      type: 'string',
      required: false,
      placeholder: 'refund.create, mail.*',
      isNoSecret: true,
      helpText: 'The actions that steps with this connection may ask for, with commas. If empty: any. Fill it in where an AI fills in steps: then nothing that it writes reaches another rule.',
    },
  ],
  test,
  connectionLabel,
};
