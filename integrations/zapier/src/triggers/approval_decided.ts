// Approval Decided: a request has ended, in whatever way.

import { defineTrigger } from 'zapier-platform-core';

import { OUTPUT_FIELDS, SAMPLE } from '../approval.js';
import { hookFor } from './hook.js';

export default defineTrigger({
  key: 'approval_decided',
  noun: 'Approval',
  display: {
    label: 'Approval Decided',
    description: 'Triggers when a request is approved or rejected, expires, or is cancelled.',
  },
  operation: {
    type: 'hook',
    ...hookFor('approval.decided'),
    outputFields: OUTPUT_FIELDS,
    sample: { ...SAMPLE, token_valid: null },
  },
});
