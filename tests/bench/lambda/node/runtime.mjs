// The leanest loop over the Runtime API that Node has: what Lambda's own does, and no more.

import { Agent, request } from 'node:http';
import { handler } from './app.mjs';

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body = '') {
  return new Promise((resolve, reject) => {
    const headers = body ? { 'content-length': Buffer.byteLength(body) } : {};
    const sent = request({ host, port, method, path, headers, agent }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

for (;;) {
  const event = await call('GET', '/2018-06-01/runtime/invocation/next');
  const id = event.headers['lambda-runtime-aws-request-id'];
  const answer = JSON.stringify(await handler(JSON.parse(event.body)));
  await call('POST', `/2018-06-01/runtime/invocation/${id}/response`, answer);
}
