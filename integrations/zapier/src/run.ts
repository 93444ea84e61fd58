// What a run is called, so that an approval is used by one run alone.

import { randomUUID } from 'node:crypto';

import { sha256 } from './json.js';

const RUN = /^zap-run-[0-9a-f]{32}$/u;

/** The name of a run that waits. Each run has a callback URL of its own, and keeps it when a step is retried. */
export function nameOfRun(callbackUrl: string): string {
  return `zap-run-${sha256(callbackUrl).slice(0, 32)}`;
}

/**
 * The name of a run that does not wait, or has begun with a decision. It has no callback URL to be known by: asking Zapier for one makes it wait. So its
 * name is new each time, and a retry counts as another run: it is stopped, rather than let through twice.
 */
export function newNameOfRun(): string {
  return `zap-run-${randomUUID().replaceAll('-', '')}`;
}

/** The name that a waiting step has stored, if it is one. */
export function storedNameOfRun(value: unknown): string | undefined {
  return typeof value === 'string' && RUN.test(value) ? value : undefined;
}
