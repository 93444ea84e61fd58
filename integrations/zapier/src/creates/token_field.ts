// The field for a decision token.

import type { PlainInputField } from 'zapier-platform-core';

/** A token, as Request Approval, Find Approval or the trigger Approval Decided hand it on. */
export const TOKEN_FIELD: PlainInputField = {
  key: 'token',
  label: 'Decision Token',
  type: 'text',
  required: true,
  helpText: 'The field Decision Token of an earlier step. Fill in the details below too: then the token must be for exactly them.',
};
