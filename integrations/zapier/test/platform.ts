// The app as Zapier runs it: through the platform's own handler, with events such as Zapier sends.
//
// PLACET_ZAPIER_BUILT names the folder of an unpacked build.zip; without it, the source is tested.

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import zapier from 'zapier-platform-core';

import type { Gate, Json, Post } from './gate.js';

type Handler = (event: Record<string, unknown>) => Promise<{ results: Json; status?: string }>;

const built = process.env['PLACET_ZAPIER_BUILT'];
const loaded = built === undefined
  ? await import(new URL('../../dist/index.js', import.meta.url).href)
  : await import(pathToFileURL(join(built, 'zapierwrapper.js')).href);

/** The app's definition, with its functions. */
export const app: Json = built === undefined ? loaded.default : loaded.appRaw;

/** What Zapier calls. The source gets the wrapper that the build would give it. */
export const handler: Handler = built === undefined
  ? (zapier as unknown as { createAppHandler: (raw: unknown) => Handler }).createAppHandler(app)
  : loaded.handler;

/** The connection of a builder. */
export interface Connection extends Record<string, string> {
  gate_url: string;
  client_id: string;
  client_secret: string;
}

export function connect(gate: Gate, client = 'zapier'): Connection {
  // What a person who runs the tests allows, and a builder cannot.
  process.env['PLACET_TEST_LOOPBACK_GATE'] = gate.origin;
  return { gate_url: gate.origin, client_id: client, client_secret: gate.secret(client) };
}

export const META = {
  isBulkRead: false, isFillingDynamicDropdown: false, isLoadingSample: false, isPopulatingDedupe: false,
  isTestingAuth: false, limit: -1, page: 0, timezone: null, inputFields: {},
};

/** Calls one method of the app. */
export async function run(method: string, bundle: Record<string, unknown>, callbackUrl?: string): Promise<{ results: Json; status: string }> {
  const answer = await handler({
    command: 'execute',
    method,
    isDeveloper: true,
    zcacheTestObj: {},
    ...(callbackUrl === undefined ? {} : { callback_url: callbackUrl }),
    bundle: { meta: META, ...bundle },
  });
  // Zapier gets the answer as JSON.
  return { results: JSON.parse(JSON.stringify(answer.results)), status: answer.status ?? 'SUCCESS' };
}

/** How a call failed: the error's name decides what Zapier does with the run. */
export interface Failure {
  name: string;
  message: string;
  code?: string;
  delay?: number;
}

/** The failure of a call; an error if it succeeds. */
export async function failure(running: Promise<unknown>): Promise<Failure> {
  let result: unknown;
  try {
    result = await running;
  } catch (error) {
    const { name, message } = error as Error;
    try {
      return { name, ...(JSON.parse(message) as { message: string }) };
    } catch {
      return { name, message };
    }
  }
  throw new Error(`it succeeded: ${JSON.stringify(result)}`);
}

/** A post as Zapier hands it on to the app. */
export function posted({ headers, content }: Post): { rawRequest: Json; cleanedRequest: Json } {
  const named = Object.entries(headers).map(([name, value]) => {
    const capital = name.replaceAll(/(^|-)[a-z]/gu, (start) => start.toUpperCase());
    return [/^content-/u.test(name) ? capital : `Http-${capital}`, String(value)] as const;
  });
  return {
    rawRequest: { method: 'POST', querystring: '', headers: Object.fromEntries(named), content },
    cleanedRequest: JSON.parse(content),
  };
}

/** A step of a Zap that waits: its connection, what the builder filled in, the URL of this run. */
export class PausingStep {
  constructor(readonly authData: Connection, readonly inputData: Record<string, unknown>, readonly callbackUrl: string) {}

  /** Zapier runs the step. */
  async perform(meta: Record<string, unknown> = {}): Promise<{ results: Json; status: string }> {
    const bundle = { authData: this.authData, inputData: this.inputData, meta: { ...META, ...meta } };
    return run('creates.request_approval.operation.perform', bundle, this.callbackUrl);
  }

  /** Something was posted to the callback URL, and Zapier wakes the step. */
  async resume(outputData: Json, post: { rawRequest: Json; cleanedRequest: Json }): Promise<Json> {
    const bundle = { authData: this.authData, inputData: this.inputData, outputData, ...post };
    const { results, status } = await run('creates.request_approval.operation.performResume', bundle, this.callbackUrl);
    if (status !== 'SUCCESS') throw new Error(`the step waits again: ${status}`);
    return results;
  }

  /** The same step in another run, as a replay makes one. */
  inAnotherRun(callbackUrl: string): PausingStep {
    return new PausingStep(this.authData, this.inputData, callbackUrl);
  }
}
