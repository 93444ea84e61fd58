/** OpenAI's Responses and Chat Completions APIs: the `request_approval` tool, and its answer. */

import type { Placet } from './client.ts';
import { answer, DESCRIPTION, NAME, PARAMETERS } from './tools.ts';

/** For `client.responses.create({ tools: […] })`. Strict schemas cannot say "any object", which a payload is. */
export function responsesTool() {
  return { type: 'function' as const, name: NAME, description: DESCRIPTION, parameters: PARAMETERS, strict: false };
}

/** For `client.chat.completions.create({ tools: […] })`. */
export function chatTool() {
  return { type: 'function' as const, function: { name: NAME, description: DESCRIPTION, parameters: PARAMETERS, strict: false } };
}

/** The `function_call_output` item for a `function_call` item that calls `request_approval`. */
export async function answerResponsesCall(gate: Placet, call: { call_id: string; arguments: string }, waitSeconds?: number, conversation?: string) {
  const output = JSON.stringify(await answer(gate, call.arguments, waitSeconds, conversation));
  return { type: 'function_call_output' as const, call_id: call.call_id, output };
}

/** The `tool` message for a tool call that calls `request_approval`. */
export async function answerChatCall(gate: Placet, call: { id: string; function: { arguments: string } }, waitSeconds?: number, conversation?: string) {
  const content = JSON.stringify(await answer(gate, call.function.arguments, waitSeconds, conversation));
  return { role: 'tool' as const, tool_call_id: call.id, content };
}
