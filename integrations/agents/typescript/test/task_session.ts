/** A session of the official MCP client with its tasks package, over HTTP. */

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { createTaskSessionFromClient, type RawClientDispatch, type TaskEnabledSession } from '@modelcontextprotocol/ext-tasks/client';

const TASKS = 'io.modelcontextprotocol/tasks';

export const INFO = { name: 'test', version: '1' };
export const CAPABILITIES = { extensions: { [TASKS]: {} } };

type Headers = Record<string, string>;

/** A request of the revision of 2026-07-28, as it goes over HTTP, and its answer. */
export async function send(url: string, headers: Headers, request: any): Promise<any> {
  const params = request.params ?? {};
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      ...headers, 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream',
      'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': request.method, 'Mcp-Name': String(params.name ?? params.taskId ?? ''),
    },
    body: JSON.stringify(request),
  });
  const text = await response.text();
  return JSON.parse(text.startsWith('{') ? text : (/^data: ?(\{.*)$/m.exec(text)?.[1] ?? '{}'));
}

/** A session that is `left` ends without a goodbye: one that says goodbye withdraws what it still waits for. */
export async function inSession<T>(
  url: string, headers: Headers, use: (session: TaskEnabledSession) => Promise<T>, left = false,
): Promise<T> {
  const client = new Client(INFO, { capabilities: CAPABILITIES, versionNegotiation: { mode: 'auto' } });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  const v2RequestFraming = { protocolVersion: '2026-07-28', clientInfo: INFO, clientCapabilities: CAPABILITIES };
  let id = 0;
  const rawDispatch: RawClientDispatch = (request) =>
    send(url, headers, { jsonrpc: '2.0', id: (id += 1), ...(request as object) });
  const session = createTaskSessionFromClient(client, { endpointId: 'gate', rawDispatch, v2RequestFraming });
  try {
    return await use(session);
  } finally {
    if (!left) await session.close().catch(() => undefined);
    await client.close().catch(() => undefined);
  }
}

/** The approval that a settled task returned. */
export const ended = (settled: any) => settled.outcome.result.structuredContent;
