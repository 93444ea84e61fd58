// The ask as a Node function: checks the signature, writes request and audit entry in one transaction, answers 201.
//
// It does less than Placet's: no policy, no quota, no message to a reviewer, and its key comes from the environment.

import { createHash, createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import { DynamoDBClient, TransactWriteItemsCommand } from '@aws-sdk/client-dynamodb';

const { BENCH_SECRET: secret, PLACET_REQUESTS_TABLE: requests, PLACET_AUDIT_TABLE: audit } = process.env;
const dynamodb = new DynamoDBClient();

const sha256 = (text) => createHash('sha256').update(text).digest('hex');

function answer(statusCode, body) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

function isSigned(event, body) {
  const { 'x-placet-timestamp': timestamp = '', 'x-signature': signature = '' } = event.headers;
  const text = `placet-v1\n${timestamp}\n${event.requestContext.http.method}\n${event.rawPath}\n${sha256(body)}`;
  const expected = Buffer.from(`v1=${createHmac('sha256', secret).update(text).digest('hex')}`);
  const given = Buffer.from(signature);
  return (
    expected.length === given.length &&
    timingSafeEqual(expected, given) &&
    Math.abs(Date.now() / 1000 - Number(timestamp)) <= 300
  );
}

export async function handler(event) {
  const body = event.isBase64Encoded ? Buffer.from(event.body, 'base64').toString() : event.body;
  if (!isSigned(event, body)) return answer(401, { code: 'invalid_signature' });
  const asked = JSON.parse(body);
  const { request_id, summary, action = 'unspecified', payload = {}, metadata = {} } = asked;
  if (
    typeof request_id !== 'string' ||
    request_id.length < 1 ||
    request_id.length > 128 ||
    typeof summary !== 'string' ||
    summary.length < 1 ||
    summary.length > 500
  ) {
    return answer(422, { code: 'invalid_request' });
  }
  const client = event.headers['x-placet-client'];
  const approval_id = randomUUID();
  const now = Date.now();
  const payload_sha256 = sha256(JSON.stringify(payload));
  try {
    await dynamodb.send(
      new TransactWriteItemsCommand({
        ClientRequestToken: approval_id,
        TransactItems: [
          {
            Put: {
              TableName: requests,
              ConditionExpression: 'attribute_not_exists(pk)',
              Item: {
                pk: { S: `r#${client}#${request_id}` },
                sk: { S: 'r' },
                question: { S: body },
                status: { S: 'pending' },
                client: { S: client },
                approval_id: { S: approval_id },
                due_pk: { S: 'closes#0' },
                due_at: { N: String(now + 600_000) },
              },
            },
          },
          {
            Put: {
              TableName: audit,
              ConditionExpression: 'attribute_not_exists(subject)',
              Item: {
                subject: { S: approval_id },
                seq: { N: '1' },
                timestamp: { N: String(now) },
                event: { S: 'asked' },
                actor: { S: `client:${client}` },
                payload_sha256: { S: payload_sha256 },
              },
            },
          },
        ],
      }),
    );
  } catch (error) {
    if (error.name === 'TransactionCanceledException') return answer(409, { code: 'request_id_conflict' });
    throw error;
  }
  return answer(201, {
    request_id,
    approval_id,
    status: 'pending',
    approved: false,
    action,
    summary,
    payload_sha256,
    metadata,
  });
}
