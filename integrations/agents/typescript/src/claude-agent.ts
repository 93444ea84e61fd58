/** The Claude Agent SDK: its permission callback that waits for Placet. */

import type { CanUseTool } from '@anthropic-ai/claude-agent-sdk';

import type { Placet } from './client.ts';
import { PlacetError } from './errors.ts';
import { actionOf } from './tools.ts';

/**
 * For `query({ options: { canUseTool } })`: every tool call that Claude Code would ask about goes to a person.
 *
 * Calls that `allowedTools`, a permission mode or a settings file allow never get here. What runs is the input as it
 * was approved.
 */
export function canUseTool(gate: Placet, options: { timeoutSeconds?: number } = {}): CanUseTool {
  return async (tool, input, { toolUseID }) => {
    try {
      const authorized = await gate.authorize<{ tool: string; input: Record<string, unknown> }>({
        action: actionOf(tool, 'claude.'),
        payload: { tool, input },
        summary: `Claude Code wants to use ${tool}`,
        requestId: toolUseID ? `claude-${actionOf(toolUseID)}` : undefined,
        timeoutSeconds: options.timeoutSeconds,
      });
      return { behavior: 'allow', updatedInput: authorized.payload.input };
    } catch (error) {
      if (!(error instanceof PlacetError)) throw error;
      return { behavior: 'deny', message: `Not approved, and not done. ${error.message}` };
    }
  };
}
