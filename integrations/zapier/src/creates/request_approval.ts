// Request Approval: the Zap pauses until a person has decided.

import { type Bundle, type ZObject, defineCreate } from 'zapier-platform-core';

import { OUTPUT_FIELDS, type Output, SAMPLE, outputOf } from '../approval.js';
import { IF_NOT_APPROVED, goOnOrStop, halted, outcomeOf } from '../decision.js';
import { find } from '../gate.js';
import { isRecord } from '../problem.js';
import { QUESTION_FIELDS, type Question, nameInThisRun, readQuestion, text } from '../question.js';
import { ask } from './ask.js';

async function perform(z: ZObject, bundle: Bundle): Promise<Output> {
  const question = readQuestion(z, bundle);
  // A test in the editor shows the shape and asks nobody. It must not wait, and `generateCallbackUrl` would make it.
  if (bundle.meta.isLoadingSample) return sampleFor(question);
  return bundle.inputData['if_asked_before'] === 'ask_again' ? askInThisRun(z, bundle, question) : askOnce(z, bundle, question);
}

/** Asks, unless this was asked before: then the earlier decision counts. */
async function askOnce(z: ZObject, bundle: Bundle, question: Question): Promise<Output> {
  const earlier = await find(z, bundle, question.requestId);
  // Found before a callback URL is made: that would make the run wait, and nobody would ever call.
  if (earlier !== undefined && earlier.status !== 'pending') {
    return goOnOrStop(z, bundle, await outcomeOf(z, bundle, earlier, question));
  }
  const { approval } = await ask(z, bundle, question, z.generateCallbackUrl());
  if (approval === undefined) {
    throw halted(
      z,
      `The Request Key "${question.requestId}" is already waiting for a decision: an earlier run asked it, or it was used for another question. ` +
        'The reviewer is not asked twice. Replay this run after the decision; for another question, use another key.',
    );
  }
  return outputOf(approval);
}

/** Asks anew in each run; a retry within the run finds its own question. */
async function askInThisRun(z: ZObject, bundle: Bundle, question: Question): Promise<Output> {
  const callbackUrl = z.generateCallbackUrl();
  const requestId = nameInThisRun(question.requestId, callbackUrl);
  const { approval, isNew } = await ask(z, bundle, { ...question, requestId }, callbackUrl);
  if (approval === undefined) {
    throw new z.errors.Error(`The Request Key "${requestId}" was used for another question before.`, 'other_question');
  }
  if (!isNew && approval.status !== 'pending') {
    // The callback has been here before this retry: it would wait in vain.
    throw halted(z, `This was decided (${approval.status}) while the step was being retried. To use that decision, replay with the Request Key "${requestId}" and with If Asked Before set to the earlier decision.`);
  }
  return outputOf(approval);
}

/**
 * Goes on when Zapier got a call on the callback URL. What that call says counts for nothing, since anybody who knows the
 * URL could make it: the gate is asked again, over the signed channel.
 */
async function performResume(z: ZObject, bundle: Bundle): Promise<Output> {
  const asked = isRecord(bundle.outputData) ? bundle.outputData : {};
  const requestId = text(asked['request_id']);
  const question = { ...readQuestion(z, bundle), requestId };
  const approval = requestId === '' ? undefined : await find(z, bundle, requestId);
  if (approval === undefined || approval.approval_id !== asked['approval_id']) {
    throw new z.errors.Error('The gate does not know the request that this run waits for. Nothing was approved.', 'lost');
  }
  if (approval.status === 'pending') {
    throw new z.errors.Error(
      'Something that is not the gate called this run back: the gate says that nobody has decided yet. Nothing was approved. Replay this run after the decision.',
      'forged_callback',
    );
  }
  return goOnOrStop(z, bundle, await outcomeOf(z, bundle, approval, question));
}

function sampleFor({ requestId, summary, action, metadata }: Question): Output {
  return { ...SAMPLE, request_id: requestId, summary, action, metadata };
}

export default defineCreate({
  key: 'request_approval',
  noun: 'Approval',
  display: {
    label: 'Request Approval',
    description: 'Asks a person and pauses the Zap until they have approved or rejected. It goes on only if they approved.',
  },
  operation: {
    inputFields: [
      ...QUESTION_FIELDS,
      IF_NOT_APPROVED,
      {
        key: 'if_asked_before',
        label: 'If Asked Before',
        type: 'string',
        required: false,
        choices: [
          { value: 'use_earlier', sample: 'use_earlier', label: 'Use the earlier decision' },
          { value: 'ask_again', sample: 'ask_again', label: 'Ask again in each run' },
        ],
        default: 'use_earlier',
        helpText: 'What a replayed run does when this Request Key has been decided already.',
      },
    ],
    perform,
    performResume,
    outputFields: OUTPUT_FIELDS,
    sample: { ...SAMPLE },
  },
});
