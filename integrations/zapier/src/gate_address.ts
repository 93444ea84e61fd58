// Which addresses a builder may name as the gate. Nothing here makes a connection.

import type { Bundle, ZObject } from 'zapier-platform-core';

/** Why an address is not taken, in words for the person who typed it. */
export class AddressProblem extends Error {}

/**
 * The origin of the gate that the builder named, such as `https://gate.example.com`.
 *
 * `https` only: tokens and approvals travel there. The one exception is for the tests of this app: the very origin that
 * `PLACET_TEST_LOOPBACK_GATE` names, if it is on 127.0.0.1. A builder cannot set it: it is the environment of the
 * process that runs the app, and on Zapier's machines only the owner of the app has a hand on that.
 */
export function gateOrigin(text: unknown): string {
  const given = typeof text === 'string' ? text.trim() : '';
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw new AddressProblem('The Gate URL is not a web address. Write it like https://gate.example.com.');
  }
  if (url.username !== '' || url.password !== '') {
    throw new AddressProblem('The Gate URL must not hold a user name or a password. Write it like https://gate.example.com.');
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw new AddressProblem(`The Gate URL ends after the host name: write ${url.origin}.`);
  }
  if (url.protocol !== 'https:' && !isGateUnderTest(url)) {
    throw new AddressProblem('The Gate URL must begin with https://, so that nobody on the way can read or change a decision.');
  }
  return url.origin;
}

function isGateUnderTest(url: URL): boolean {
  return url.protocol === 'http:' && url.hostname === '127.0.0.1' && url.origin === process.env['PLACET_TEST_LOOPBACK_GATE'];
}

/** The origin of the connection's gate; an address that is not taken is an error that says why. */
export function addressOf(z: ZObject, bundle: Bundle): string {
  try {
    return gateOrigin(bundle.authData['gate_url']);
  } catch (error) {
    if (error instanceof AddressProblem) throw new z.errors.Error(error.message, 'bad_gate_url');
    throw error;
  }
}
