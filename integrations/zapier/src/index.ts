// The app as Zapier loads it.

import { createRequire } from 'node:module';
import zapier, { defineApp } from 'zapier-platform-core';

import { authentication } from './authentication.js';
import cancelApproval from './creates/cancel_approval.js';
import createApprovalRequest from './creates/create_approval_request.js';
import redeemDecisionToken from './creates/redeem_decision_token.js';
import requestApproval from './creates/request_approval.js';
import verifyDecisionToken from './creates/verify_decision_token.js';
import { explain, sign } from './middleware.js';
import findApproval from './searches/find_approval.js';
import approvalDecided from './triggers/approval_decided.js';
import approvalList from './triggers/approval_list.js';
import newApprovalRequest from './triggers/new_approval_request.js';

const { version } = createRequire(import.meta.url)('../package.json') as { version: string };

export default defineApp({
  version,
  platformVersion: zapier.version,
  // Every request is made by the platform's own client, which logs it; patching the rest would only add entries.
  // A 429 is explained by the middleware.
  flags: { skipHttpPatch: true, throwForThrottlingEarly: false, cleanInputData: false },
  authentication,
  beforeRequest: [sign],
  afterResponse: [explain],
  triggers: {
    [newApprovalRequest.key]: newApprovalRequest,
    [approvalDecided.key]: approvalDecided,
    [approvalList.key]: approvalList,
  },
  searches: { [findApproval.key]: findApproval },
  creates: {
    [requestApproval.key]: requestApproval,
    [createApprovalRequest.key]: createApprovalRequest,
    [cancelApproval.key]: cancelApproval,
    [verifyDecisionToken.key]: verifyDecisionToken,
    [redeemDecisionToken.key]: redeemDecisionToken,
  },
});
