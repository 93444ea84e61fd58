// Create Approval Request: asks, and the Zap goes on without waiting.

import { type Bundle, type ZObject, defineCreate } from 'zapier-platform-core';

import { OUTPUT_FIELDS, type Output, PENDING_SAMPLE, outputOf } from '../approval.js';
import { otherQuestion } from '../decision.js';
import { QUESTION_FIELDS, readQuestion } from '../question.js';
import { newNameOfRun } from '../run.js';
import { ask } from './ask.js';

async function perform(z: ZObject, bundle: Bundle): Promise<Output> {
  const question = readQuestion(z, bundle);
  const { approval } = await ask(z, bundle, question);
  if (approval === undefined) throw otherQuestion(z, question.requestId);
  // A rule may have decided at once, or a person before: then this run may go on to redeem.
  return outputOf(approval, approval.status === 'pending' ? {} : { run: newNameOfRun() });
}

export default defineCreate({
  key: 'create_approval_request',
  noun: 'Approval Request',
  display: {
    label: 'Create Approval Request',
    description: 'Asks a person and goes on at once, without the decision. Use Find Approval or the trigger Approval Decided to get it.',
  },
  operation: {
    inputFields: [...QUESTION_FIELDS],
    perform,
    outputFields: OUTPUT_FIELDS,
    sample: { ...PENDING_SAMPLE },
  },
});
