// Putting a question to the gate.

import type { Bundle, ZObject } from 'zapier-platform-core';

import { type Approval, approvalIn } from '../approval.js';
import { call, find, json } from '../gate.js';
import { type Question, isAnswerTo } from '../question.js';

/** What asking came to. */
export interface Asked {
  /** Undefined where the name belongs to another question. */
  approval: Approval | undefined;
  /** Whether this call made it. */
  isNew: boolean;
  /** Whether the gate has taken the callback URL of this call. */
  isCalledBack: boolean;
}

/**
 * Asks. The same question under the same name joins the same request, with whatever summary, time and callback.
 *
 * What comes back is compared with what was asked: a gate that mixes questions up is not believed.
 */
export async function ask(z: ZObject, bundle: Bundle, question: Question, callbackUrl?: string): Promise<Asked> {
  const fields = {
    request_id: question.requestId,
    summary: question.summary,
    action: question.action,
    timeout_seconds: question.timeoutSeconds,
    metadata: question.metadata,
    ...(callbackUrl === undefined ? {} : { callback_url: callbackUrl }),
  };
  const body = json(fields, question.payload);
  const response = await call(z, bundle, { method: 'POST', path: '/v1/requests', body, expected: [409] });
  if (response.status === 409) {
    // A gate of an older version takes another summary or callback for another question. This app does not.
    const found = await find(z, bundle, question.requestId);
    return { approval: found !== undefined && isAnswerTo(found, question) ? found : undefined, isNew: false, isCalledBack: false };
  }
  const approval = approvalIn(z, response.data);
  if (!isAnswerTo(approval, question)) throw new z.errors.Error('The gate answered with another approval.', 'wrong_approval');
  return { approval, isNew: response.status === 201, isCalledBack: callbackUrl !== undefined };
}
