/**
 * Asks a gate elsewhere for one approval, as a task: `node ask_as_task.ts URL HOST ACTION`, with the key on standard input.
 * Prints `waiting` once there is a task, and the approval when it has ended. Driven by tests/aws.
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';

import { ended, inSession } from './task_session.ts';

const [url, host, action] = process.argv.slice(2) as [string, string, string];
const headers = { Authorization: `Bearer ${readFileSync(0, 'utf8').trim()}` };

// The gate is known by a name that no name server knows, and `fetch` does not let a caller say `Host`.
const door = http.createServer((request, response) => {
  const { hostname, port } = new URL(url);
  const options = { hostname, port, method: request.method, path: request.url, headers: { ...request.headers, host } };
  request.pipe(http.request(options, (answer) => answer.pipe(response.writeHead(answer.statusCode ?? 502, answer.headers))));
});
await new Promise<void>((resolve) => void door.listen(0, '127.0.0.1', resolve));
const { port } = door.address() as AddressInfo;

await inSession(`http://127.0.0.1:${port}/mcp`, headers, async (session) => {
  const execution = await session.callTool('request_approval', { summary: 'pay', action, payload: { amount: 5000 } });
  assert.equal(execution.kind, 'task');
  console.log('waiting');
  console.log(JSON.stringify(ended(await execution.settle())));
});
door.close();
door.closeAllConnections();
