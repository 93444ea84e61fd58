import type { GenericValue, IDataObject, INodeExecutionData } from 'n8n-workflow';

import { simplified, type Approval, type TokenVerdict } from '../shared/approval';

/** How one item's question ended. `approved` is the only thing that lets the item pass. */
export interface Outcome {
	approved: boolean;
	/** For a person: what happened, who did it and why. */
	explanation: string;
	/** What the gate says; missing when it could not even be asked. */
	approval?: Approval;
}

/** What happens to an item that was not approved. */
export type OnRefusal =
	/** The run stops with an error. */
	| 'stop'
	/** n8n is told to continue on errors: the item is replaced by an error. */
	| 'errorItem'
	/** The builder asked for the outcome: the item goes on, marked. */
	| 'handOn'
	/** The node reviews an agent's tool calls: the agent is told. */
	| 'review';

/** What was asked for one item, as far as a judgement needs it. */
interface Known {
	request_id: string;
	approval_id: string;
}

/**
 * Whether an approval that has ended lets its item pass.
 *
 * Nothing is taken from the approval's own word alone: the gate has checked the token for this very payload, and what
 * the token says has to be this very request's.
 */
export function judged(approval: Approval, asked: Known, verdict: TokenVerdict): Outcome {
	if (!isOf(approval, asked) || !says(verdict.claims, approval)) {
		return unsure(
			approval,
			`Not approved: the token of this decision is not good (${verdict.problem ?? 'it is for another request'})`,
		);
	}
	if (!verdict.valid || verdict.claims?.approved !== true) {
		return unsure(approval, refusedToken(String(verdict.problem ?? 'it does not approve')));
	}
	return { approved: true, approval, explanation: `Approved by ${names(approval)}` };
}

/** The outcome that needs no token: what has ended otherwise than by an approval, or is of another request. */
export function refusedAlready(approval: Approval, asked: Known): Outcome | undefined {
	if (!isOf(approval, asked)) {
		return unsure(approval, 'Not approved: the gate has answered about another request');
	}
	return approval.status === 'approved' ? undefined : unsure(approval, explained(approval));
}

/** The outcome when the gate refuses the token, by the gate's code. */
export function refusedOutcome(approval: Approval, code: string): Outcome {
	return unsure(approval, refusedToken(code));
}

function refusedToken(code: string): string {
	switch (code) {
		case 'already_redeemed':
			return 'Not approved: this approval was used by another run. One approval is good for one run; ask under another Request ID, or without one.';
		case 'token_expired':
			return 'Not approved: the approval came too late: it was valid for a limited time ("valid_for" in the policy), and that is over. Run the workflow again to ask anew.';
		default:
			return `Not approved: the token is not good (${code})`;
	}
}

function isOf(approval: Approval, asked: Known): boolean {
	return approval.request_id === asked.request_id && approval.approval_id === asked.approval_id;
}

function says(claims: TokenVerdict['claims'], approval: Approval): boolean {
	return (
		claims?.sub === approval.request_id &&
		claims.jti === approval.approval_id &&
		claims.status === approval.status &&
		claims.payload_sha256 === approval.payload_sha256
	);
}

/** An outcome that does not let the item pass, whatever the approval says of itself. */
function unsure(approval: Approval, explanation: string): Outcome {
	return { approved: false, approval: { ...approval, approved: false }, explanation };
}

/** Why a request that has ended is not approved. */
function explained(approval: Approval): string {
	const reason = approval.reason ? `: ${approval.reason}` : '';
	switch (approval.status) {
		case 'rejected':
			return `Not approved: rejected by ${names(approval)}${reason}`;
		case 'expired':
			return 'Not approved: nobody decided in time';
		case 'cancelled':
			return `Not approved: the request was cancelled${reason}`;
		default:
			return 'Not approved: no decision yet';
	}
}

function names(approval: Approval): string {
	return approval.decided_by.join(', ') || 'the policy';
}

/** How outcomes become items. */
export interface HandingOn {
	onRefusal: OnRefusal;
	simplify: boolean;
	/** Whether an item with `details` beside its `error` is taken for an error. */
	details: boolean;
}

/**
 * Whether this n8n knows an item with `error` and `details` as one for the error output.
 *
 * In old versions such an item would leave by the first output, where the approved ones go. n8n tells no node its
 * version, and the `n8n-workflow` that a node finds may be another one's; so this looks at what the engine itself hands
 * over, for something that is there since 2.40. (`details` came with 2.36.)
 */
export function knowsDetails(context: object): boolean {
	return '_getRunlessCredentials' in context;
}

function shown({ approval }: Outcome, simplify: boolean): IDataObject {
	return approval && simplify ? simplified(approval) : { ...approval };
}

/** What goes on for one item. */
export function itemFor(
	outcome: Outcome,
	original: INodeExecutionData,
	index: number,
	{ onRefusal: on, simplify, details: withDetails }: HandingOn,
): INodeExecutionData {
	const pairedItem = { item: index };
	if (on === 'review') return { json: reviewAnswer(outcome), pairedItem };
	if (!outcome.approved && on !== 'handOn') {
		// Only these keys, or n8n does not see an error in it. The original fields are left out on purpose:
		// whoever continues on errors gets nothing to act on.
		const details = {
			...shown(outcome, simplify),
			approved: false,
			explanation: outcome.explanation,
		};
		const error = outcome.explanation;
		return { json: withDetails ? { error, details } : { error }, pairedItem };
	}
	const placet = { ...shown(outcome, simplify), explanation: outcome.explanation };
	// `approved` last: what the item said of itself before must not count.
	return {
		...original,
		json: { ...original.json, placet, approved: outcome.approved },
		pairedItem,
	};
}

/** The agent reads `approved`; `chatInput` is what the model is told when the tool does not run. */
function reviewAnswer({ approved, approval, explanation }: Outcome): IDataObject {
	const answer: IDataObject = { approved, placet: (approval ?? null) as unknown as GenericValue };
	// A bare rejection is left to n8n's own words, which tell the model to stop and wait.
	const bare = approval?.status === 'rejected' && !approval.reason;
	if (!approved && !bare) {
		answer.chatInput = approval?.status === 'rejected' ? String(approval.reason) : explanation;
	}
	return answer;
}

/** The one error for all items: it names each that was not approved. */
export function summed(outcomes: Outcome[]): string {
	const refused = outcomes
		.map((outcome, index) => ({ outcome, index }))
		.filter(({ outcome }) => !outcome.approved);
	if (outcomes.length === 1) return refused[0]?.outcome.explanation ?? '';
	const each = refused.map(({ outcome, index }) => `item ${index}: ${outcome.explanation}`);
	return `${refused.length} of ${outcomes.length} items were not approved. ${each.join('. ')}`;
}
