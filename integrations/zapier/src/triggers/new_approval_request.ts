// New Approval Request: somebody asks for an approval.

import { defineTrigger } from 'zapier-platform-core';

import { OUTPUT_FIELDS, PENDING_SAMPLE } from '../approval.js';
import { hookFor } from './hook.js';

export default defineTrigger({
  key: 'new_approval_request',
  noun: 'Approval Request',
  display: {
    label: 'New Approval Request',
    description: 'Triggers when a person is asked for an approval.',
  },
  operation: {
    type: 'hook',
    ...hookFor('approval.requested'),
    outputFields: OUTPUT_FIELDS,
    sample: { ...PENDING_SAMPLE },
  },
});
