/** The gate's address: `https`, or `http` on this machine alone. */

import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { isIPv4, isIPv6 } from 'node:net';

export interface Address {
  /** Without a slash at its end. */
  url: string;
  secure: boolean;
  host: string;
  port: number;
  /** What the gate's paths begin with, behind a proxy that serves more than the gate. */
  prefix: string;
  agent: http.Agent;
}

/**
 * Reads an address; `TypeError` where the gate could not be trusted there. Over plain `http`, whoever is on the way reads
 * the tokens and hands out keys of their own: only loopback is safe.
 *
 * Loopback is never proxied. TLS is checked against Node's authorities, or those that `SSL_CERT_FILE` names.
 */
export function gateAddress(url: string): Address {
  let parts: URL;
  try {
    parts = new URL(url);
  } catch {
    throw new TypeError("url is the gate's address, such as https://gate.example.com");
  }
  if (!['https:', 'http:'].includes(parts.protocol) || parts.hostname === '') {
    throw new TypeError("url is the gate's address, such as https://gate.example.com");
  }
  // Whatever two programs could read as two different hosts is no address.
  if (!/^[!-~]+$/.test(url) || /[\\@?#%]/.test(url)) {
    throw new TypeError("url is the gate's address alone: no user, query, fragment or escapes");
  }
  const host = parts.hostname.replace(/^\[|\]$/g, '');
  const secure = parts.protocol === 'https:';
  const loopback = isLoopback(host);
  if (!secure && !loopback) throw new TypeError(`http:// is for a gate on this machine; ${host} needs https://`);
  // An agent of its own is one without a proxy; newer versions of Node take the environment's proxies from `proxyEnv`.
  const options = { keepAlive: true, ...(loopback ? {} : { proxyEnv: process.env }) };
  const agent = secure ? new https.Agent({ ...options, ...authorities() }) : new http.Agent(options);
  const port = parts.port === '' ? (secure ? 443 : 80) : Number(parts.port);
  return { url: url.replace(/\/+$/, ''), secure, host, port, prefix: parts.pathname.replace(/\/+$/, ''), agent };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || (isIPv4(host) && host.startsWith('127.')) || (isIPv6(host) && host === '::1');
}

function authorities(): { ca?: Buffer } {
  const file = process.env['SSL_CERT_FILE'];
  return file ? { ca: readFileSync(file) } : {};
}
