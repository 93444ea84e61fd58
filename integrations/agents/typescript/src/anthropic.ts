/** Claude's Messages API: the `request_approval` tool, and its answer. */

import type { Placet } from './client.ts';
import { answer as told, DESCRIPTION, NAME, PARAMETERS } from './tools.ts';

/** For `client.messages.create({ tools: […] })`. */
export function tool() {
  return { name: NAME, description: DESCRIPTION, input_schema: PARAMETERS };
}

/** The `tool_result` block for a `tool_use` block that calls `request_approval`. */
export async function answer(gate: Placet, block: { id: string; input: unknown }, waitSeconds?: number, conversation?: string) {
  const said = await told(gate, block.input, waitSeconds, conversation);
  const result = { type: 'tool_result' as const, tool_use_id: block.id, content: JSON.stringify(said) };
  return 'error' in said ? { ...result, is_error: true } : result;
}
