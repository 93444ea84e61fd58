/** The OpenAI Agents SDK: a tool with `needsApproval: true` waits for Placet, by the SDK's own approval hook. */

import { run as runAgent, type Agent, type RunResult, type RunState, type RunToolApprovalItem } from '@openai/agents';

import { strictObject } from './canonical.ts';
import type { Placet } from './client.ts';
import { PlacetError } from './errors.ts';
import { actionOf } from './tools.ts';

type AnyAgent = Agent<any, any>;

export interface RunOptions {
  timeoutSeconds?: number;
  /** Handed to the SDK's `run`. */
  maxTurns?: number;
  /** Handed to the SDK's `run`; stops what waits for a person as well, and withdraws it. */
  signal?: AbortSignal;
}

/**
 * The SDK's `run`, with every approval that it asks for put before a person. The action that the policy sees is the
 * tool's name (`mcp.<server>.<tool>` for a hosted MCP server's), the payload its arguments. A tool that is not approved is rejected, and the model goes on without it.
 */
export async function run(
  agent: AnyAgent, input: string, gate: Placet, options: RunOptions = {},
): Promise<RunResult<any, AnyAgent>> {
  const { timeoutSeconds, ...sdk } = options;
  let result = await runAgent(agent, input, sdk);
  while (result.interruptions.length > 0) {
    const state = await decide(result, gate, timeoutSeconds, sdk.signal);
    result = await runAgent(agent, state, sdk);
  }
  return result;
}

/** Puts a result's interruptions before a person; the state to resume with. All are asked at once. */
export async function decide(
  result: RunResult<any, AnyAgent>, gate: Placet, timeoutSeconds?: number, signal?: AbortSignal,
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
        await gate.authorize({ action: actionFor(item, item.name), payload, summary, timeoutSeconds, signal });
      } catch (error) {
        // Whatever it is, it is no approval.
        const said = error instanceof PlacetError ? error.message : error instanceof Error ? error.name : 'an error';
        state.reject(item, { message: `Not approved, and not done. ${said}` });
        return;
      }
      state.approve(item);
    }),
  );
  return state;
}

/**
 * The tool's name; before it, where there is one, the hosted MCP server or the namespace that the tool is of. Two servers
 * may call two tools alike, and a rule for the one must not let the other run.
 */
function actionFor(item: RunToolApprovalItem, name: string): string {
  const raw = item.rawItem as { namespace?: unknown; providerData?: Record<string, unknown> };
  const server = raw.providerData?.['server_label'] ?? raw.providerData?.['serverLabel'];
  if (server !== undefined) return `mcp.${actionOf(String(server))}.${actionOf(name)}`;
  if (typeof raw.namespace === 'string' && raw.namespace !== '') return `${actionOf(raw.namespace)}.${actionOf(name)}`;
  return actionOf(name);
}
