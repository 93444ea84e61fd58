/** The OpenAI Agents SDK: a tool with `needsApproval: true` waits for Placet, by the SDK's own approval hook. */

import { run as runAgent, type Agent, type RunResult, type RunState } from '@openai/agents';

import { strictObject } from './canonical.ts';
import type { Placet } from './client.ts';
import { PlacetError } from './errors.ts';
import { actionOf } from './tools.ts';

type AnyAgent = Agent<any, any>;

export interface RunOptions {
  timeoutSeconds?: number;
  /** Handed to the SDK's `run`. */
  maxTurns?: number;
}

/**
 * The SDK's `run`, with every approval that it asks for put before a person. The action that the policy sees is the
 * tool's name, the payload its arguments. A tool that is not approved is rejected, and the model goes on without it.
 */
export async function run(
  agent: AnyAgent, input: string, gate: Placet, options: RunOptions = {},
): Promise<RunResult<any, AnyAgent>> {
  const { timeoutSeconds, ...sdk } = options;
  let result = await runAgent(agent, input, sdk);
  while (result.interruptions.length > 0) {
    const state = await decide(result, gate, timeoutSeconds);
    result = await runAgent(agent, state, sdk);
  }
  return result;
}

/** Puts a result's interruptions before a person; the state to resume with. All are asked at once. */
export async function decide(
  result: RunResult<any, AnyAgent>, gate: Placet, timeoutSeconds?: number,
): Promise<RunState<any, AnyAgent>> {
  const state = result.state;
  await Promise.all(
    result.interruptions.map(async (item) => {
      try {
        if (typeof item.name !== 'string' || typeof item.arguments !== 'string') {
          throw new PlacetError('this kind of tool call has no arguments to approve');
        }
        // The SDK will run the tool with this very text: it must have one reading.
        const payload = strictObject(item.arguments || '{}');
        const summary = `${item.agent.name} wants to use ${item.name}`;
        await gate.authorize({ action: actionOf(item.name), payload, summary, timeoutSeconds });
        state.approve(item);
      } catch (error) {
        if (!(error instanceof PlacetError)) throw error;
        state.reject(item, { message: `Not approved, and not done. ${error.message}` });
      }
    }),
  );
  return state;
}
