// Request Approval: the Zap pauses until a person has decided.

import { type Bundle, type PlainInputField, type ZObject, defineCreate } from 'zapier-platform-core';

import { OUTPUT_FIELDS, type Output, SAMPLE, outputOf } from '../approval.js';
import { IF_NOT_APPROVED, USE_APPROVAL, choicesMustBeWrittenOut, halted, otherQuestion, settle } from '../decision.js';
import { find } from '../gate.js';
import { isRecord } from '../problem.js';
import { QUESTION_FIELDS, type Question, isAnswerTo, nameInThisRun, readQuestion } from '../question.js';
import { nameOfRun, newNameOfRun, storedNameOfRun } from '../run.js';
import { ask } from './ask.js';

const IF_ASKED_BEFORE: PlainInputField = {
  key: 'if_asked_before',
  label: 'If Asked Before',
  type: 'string',
  required: false,
  choices: [
    { value: 'use_earlier', sample: 'use_earlier', label: 'Use the earlier decision' },
    { value: 'ask_again', sample: 'ask_again', label: 'Ask again in each run' },
  ],
  default: 'use_earlier',
  helpText: 'What a run does when this Request Key has been decided already. An earlier approval that another run has used stops it.',
};

async function perform(z: ZObject, bundle: Bundle): Promise<Output> {
  choicesMustBeWrittenOut(z, bundle, IF_ASKED_BEFORE);
  const question = readQuestion(z, bundle);
  // A test in the editor shows the shape and asks nobody. It must not wait, and `generateCallbackUrl` would make it.
  if (bundle.meta.isLoadingSample) return sampleFor(question);
  return bundle.inputData['if_asked_before'] === 'ask_again' ? askInThisRun(z, bundle, question) : askOnce(z, bundle, question);
}

/** Asks, unless this was asked before: then the run waits for the same decision, or the earlier one counts. */
async function askOnce(z: ZObject, bundle: Bundle, question: Question): Promise<Output> {
  const earlier = await find(z, bundle, question.requestId);
  if (earlier !== undefined && !isAnswerTo(earlier, question)) throw otherQuestion(z, question.requestId);
  // Found before a callback URL is made: that would make the run wait, and nobody might ever call.
  if (earlier !== undefined && earlier.status !== 'pending') return settle(z, bundle, earlier, question, newNameOfRun());
  const callbackUrl = z.generateCallbackUrl();
  const { approval, isCalledBack } = await ask(z, bundle, question, callbackUrl);
  if (approval === undefined) throw otherQuestion(z, question.requestId);
  if (!isCalledBack) {
    throw halted(z, `The Request Key "${question.requestId}" is already waiting for a decision, which an earlier run asked for. The reviewer is not asked twice. Replay this run after the decision.`);
  }
  // Also one that has ended meanwhile: the gate calls every run back that has asked.
  return { ...outputOf(approval), run: nameOfRun(callbackUrl) };
}

/** Asks anew in each run; a retry within the run finds its own question. */
async function askInThisRun(z: ZObject, bundle: Bundle, question: Question): Promise<Output> {
  const callbackUrl = z.generateCallbackUrl();
  const requestId = nameInThisRun(question.requestId, callbackUrl);
  const { approval, isNew } = await ask(z, bundle, { ...question, requestId }, callbackUrl);
  if (approval === undefined) throw otherQuestion(z, requestId);
  if (!isNew && approval.status !== 'pending') {
    // The callback has been here before this retry: it would wait in vain.
    throw halted(z, `This was decided (${approval.status}) while the step was being retried. To use that decision, replay with the Request Key "${requestId}" and with If Asked Before set to the earlier decision.`);
  }
  return { ...outputOf(approval), run: nameOfRun(callbackUrl) };
}

/**
 * Goes on when Zapier got a call on the callback URL. What that call says counts for nothing, since anybody who knows the
 * URL could make it: the gate is asked again, over the signed channel.
 */
async function performResume(z: ZObject, bundle: Bundle): Promise<Output> {
  const asked = isRecord(bundle.outputData) ? bundle.outputData : {};
  const requestId = typeof asked['request_id'] === 'string' ? asked['request_id'] : '';
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
  return settle(z, bundle, approval, question, storedNameOfRun(asked['run']) ?? newNameOfRun());
}

function sampleFor({ requestId, summary, action, metadata }: Question): Output {
  return { ...SAMPLE, request_id: requestId, summary, action, metadata, token_first_use: true };
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
      USE_APPROVAL,
      IF_ASKED_BEFORE,
    ],
    perform,
    performResume,
    outputFields: OUTPUT_FIELDS,
    sample: { ...SAMPLE, token_first_use: true },
  },
});
