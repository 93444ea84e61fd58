/** The Claude Agent SDK: its permission callback, and a `PreToolUse` hook, that wait for Placet. */

import { createHash } from 'node:crypto';
import { hostname } from 'node:os';

import type { CanUseTool, HookCallback, HookCallbackMatcher } from '@anthropic-ai/claude-agent-sdk';

import { isObject } from './approval.ts';
import type { Placet } from './client.ts';
import { InvalidPayload, PlacetError } from './errors.ts';
import { actionOf } from './tools.ts';

/**
 * For `query({ options: { canUseTool } })`: every tool call that Claude Code would ask about goes to a person.
 *
 * Calls that `allowedTools`, a permission mode or a settings file allow never get here: use `gated` for those as well.
 * What runs is the input as it was approved.
 */
export function canUseTool(gate: Placet, options: { timeoutSeconds?: number } = {}): CanUseTool {
  return async (tool, input, { toolUseID, signal }) => {
    try {
      return { behavior: 'allow', updatedInput: await judge(gate, tool, input, toolUseID, options.timeoutSeconds, signal) };
    } catch (error) {
      return { behavior: 'deny', message: no(error) };
    }
  };
}

/**
 * A callback for a `PreToolUse` matcher: gates whatever it matches. `timeoutSeconds` must be less than the matcher's
 * `timeout`: without `onFailure`, a hook that Claude Code gives up on blocks nothing. `gated` makes such a matcher.
 */
export function preToolUse(gate: Placet, options: { timeoutSeconds: number }): HookCallback {
  return async (hook, toolUseID, { signal }) => {
    try {
      if (hook.hook_event_name !== 'PreToolUse') throw new PlacetError('this hook is for PreToolUse');
      const updatedInput = await judge(gate, hook.tool_name, hook.tool_input, hook.tool_use_id ?? toolUseID, options.timeoutSeconds, signal, hook.session_id);
      return { hookSpecificOutput: { hookEventName: 'PreToolUse', permissionDecision: 'allow', permissionDecisionReason: 'approved', updatedInput } };
    } catch (error) {
      return { hookSpecificOutput: { hookEventName: 'PreToolUse', permissionDecision: 'deny', permissionDecisionReason: no(error) } };
    }
  };
}

/** For `hooks: { PreToolUse: [gated(gate, 'Bash|Write')] }`: a hook whose every failure blocks the tool. */
export function gated(gate: Placet, matcher: string, options: { timeoutSeconds?: number } = {}): HookCallbackMatcher {
  const timeoutSeconds = options.timeoutSeconds ?? 540;
  return { matcher, hooks: [preToolUse(gate, { timeoutSeconds })], timeout: timeoutSeconds + 60, onFailure: 'block' };
}

/** The input that a tool may be used with, once; throws where it may not. */
async function judge(
  gate: Placet, tool: unknown, input: unknown, useId: unknown, timeoutSeconds: number | undefined, signal: AbortSignal | undefined,
  session?: string,
): Promise<Record<string, unknown>> {
  if (typeof tool !== 'string' || !isObject(input)) throw new InvalidPayload("a tool's name and input are needed");
  const use = typeof useId === 'string' && useId !== '' ? `claude-${actionOf(useId)}` : undefined;
  // Hooks of two settings files ask about one use at once, on one machine: what one of them used up, the other may let run.
  const machine = createHash('sha256').update(`${hostname()}\n${session ?? 'None'}\n${use ?? 'None'}`).digest('hex').slice(0, 32);
  const question = {
    action: actionOf(tool, 'claude.'), payload: { tool, input }, summary: `Claude Code wants to use ${tool}`, timeoutSeconds, signal,
  };
  const authorized = await gate.authorizeUse<{ tool: string; input: Record<string, unknown> }>(question, use, `claude-${machine}`);
  return authorized.payload.input;
}

function no(error: unknown): string {
  // What is not ours could quote anything; the model is told its kind alone.
  return `Not approved, and not done. ${error instanceof PlacetError ? error.message : error instanceof Error ? error.name : 'an error'}`;
}
