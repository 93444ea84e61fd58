// How a builder connects a gate: its address, and the client that Zapier is there.

import type { Authentication, Bundle, ZObject } from 'zapier-platform-core';

import { verify } from './gate.js';
import { addressOf } from './gate_address.js';
import { allowedActions, isActionPattern } from './question.js';

/** Allowed Actions that could never match would let nothing through, and nobody would know why. */
function checkAllowedActions(z: ZObject, bundle: Bundle): void {
  const wrong = allowedActions(bundle).find((one) => !isActionPattern(one));
  if (wrong !== undefined) throw new z.errors.Error(`Allowed Actions: "${wrong}" is no action. Write names such as refund.create, or refund.* for all that begin so.`, 'bad_allowed_actions');
}

/** Any client may ask the gate about a token, whatever its role, and the answer to this one changes nothing. */
async function test(z: ZObject, bundle: Bundle): Promise<{ client: string; gate: string }> {
  checkAllowedActions(z, bundle);
  await verify(z, bundle, 'connection-test');
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
