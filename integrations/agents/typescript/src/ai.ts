/** The Vercel AI SDK: tools that run only once a person has approved their real arguments. */

import type { Tool, ToolSet } from 'ai';

import type { Payload } from './canonical.ts';
import type { Placet } from './client.ts';
import { PlacetError } from './errors.ts';
import { actionOf } from './tools.ts';

export interface GatedOptions {
  /** What the policy sees in place of the tools' own names: `<prefix>.<tool>`. */
  prefix?: string;
  timeoutSeconds?: number;
}

/**
 * The same tools for `generateText({ tools: gated(gate, { sendInvoice }) })`, behind the gate. The action that the policy
 * sees is the tool's name, the payload its arguments.
 *
 * What a message history says of an approval is not looked at, and `needsApproval` is not needed: the tool asks, verifies
 * and redeems right before it runs, and runs with what was approved. A call that is not approved is an error of the tool's,
 * which the model reads. `abortSignal` withdraws the question.
 */
export function gated<T extends ToolSet>(gate: Placet, tools: T, options: GatedOptions = {}): T {
  return Object.fromEntries(Object.entries(tools).map(([name, tool]) => [name, behind(gate, name, tool as Tool, options)])) as unknown as T;
}

function behind(gate: Placet, name: string, tool: Tool, { prefix, timeoutSeconds }: GatedOptions): Tool {
  const execute = tool.execute;
  // It runs in the browser, or at the model's provider: nothing here could hold it back.
  if (execute === undefined) throw new TypeError(`the tool ${name} has no execute: it cannot be gated here`);
  const action = prefix === undefined ? actionOf(name) : `${actionOf(prefix)}.${actionOf(name)}`;
  const asking: NonNullable<Tool['execute']> = async (input: unknown, context) => {
    let approved: unknown;
    try {
      const question = { action, payload: (input ?? {}) as Payload, summary: `An agent wants to use ${name}`, timeoutSeconds };
      approved = (await gate.authorize({ ...question, signal: context.abortSignal })).payload;
    } catch (error) {
      context.abortSignal?.throwIfAborted();
      // What is not ours could quote anything; the model is told its kind alone.
      throw new PlacetError(
        `Not approved, and not done. ${error instanceof PlacetError ? error.message : error instanceof Error ? error.name : 'an error'}`,
      );
    }
    return last(await execute(approved as never, context));
  };
  return { ...tool, execute: asking } as Tool;
}

/** A tool may give results that are replaced by later ones: the last one counts. */
async function last(result: unknown): Promise<unknown> {
  if (typeof result !== 'object' || result === null || !(Symbol.asyncIterator in result)) return result;
  let latest: unknown;
  for await (const one of result as AsyncIterable<unknown>) latest = one;
  return latest;
}
