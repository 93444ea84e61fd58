import type { IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';
import { NodeOperationError } from 'n8n-workflow';

import type { Approval, TokenVerdict } from '../shared/approval';
import { Gate, nodeError } from '../shared/gate';
import { itemFor, judged, summed, type OnRefusal, type Outcome } from './outcome';
import { questionFor } from './question';
import { holdBack, type Asked } from './record';
import { isToolReview } from './toolReview';

/**
 * How long past the last deadline n8n waits. The gate ends a request at its deadline and then calls back for
 * a day; only its word counts. When n8n gives up after that, the step has no answer, which is no approval.
 */
const AFTER_DEADLINE_MS = 25 * 3600 * 1000;

const NO_ANSWER: Outcome = {
	approved: false,
	explanation: 'Not approved: no answer of the gate has come, a day after the deadline',
};

/**
 * Asks for every item, then puts the execution to wait until all have an answer.
 *
 * With "On Error" set to continue, n8n passes the *input* of a step that throws on, as if it were its output.
 * So in that mode nothing is thrown from here: failures become items.
 */
export async function requestAndWait(context: IExecuteFunctions): Promise<INodeExecutionData[]> {
	const onRefusal = refusalMode(context);
	const continues = context.continueOnFail();
	const items = context.getInputData();
	const asked: Asked[] = [];
	const outcomes: Array<Outcome | undefined> = [];
	let lastDeadline = Date.now();
	let gate: Gate | undefined;
	try {
		assertCanWait(context);
		gate = await Gate.of(context);
		for (const [index, item] of items.entries()) {
			try {
				const question = questionFor(context, item, index);
				question.callback_url = context.getSignedResumeUrl();
				const approval = await gate.call<Approval>('POST', '/v1/requests', question);
				const one = {
					request_id: question.request_id,
					approval_id: approval.approval_id,
					payload: question.payload,
				};
				asked.push(one);
				lastDeadline = Math.max(lastDeadline, Date.parse(approval.deadline ?? '') || 0);
				outcomes.push(await outcomeOf(gate, approval, one));
			} catch (error) {
				if (!continues) throw nodeError(context, error, index);
				const failure = `Not approved: ${described(error)}`;
				asked[index] = { request_id: '', approval_id: '', payload: {}, failure };
				outcomes[index] = { approved: false, explanation: failure };
			}
		}
		if (outcomes.every((outcome) => outcome !== undefined)) {
			return finished(context, outcomes, items, onRefusal);
		}
		const meanwhile = items.map((item, index) =>
			itemFor(outcomes[index] ?? NO_ANSWER, item, index, onRefusal),
		);
		const wait = { onRefusal, asked, originals: items };
		holdBack(context.getExecuteData(), context.getNode(), wait, meanwhile, NO_ANSWER.explanation);
		await context.putExecutionToWait(new Date(lastDeadline + AFTER_DEADLINE_MS));
		// Only to look at while the run waits. An `error` in here would make n8n try the step again.
		return asked.map(({ request_id }, index) => ({
			json: { approved: false, request_id },
			pairedItem: { item: index },
		}));
	} catch (error) {
		if (gate && !context.getNode().retryOnFail) await withdraw(gate, asked);
		const wrapped = nodeError(context, error);
		if (!continues) throw wrapped;
		const failed: Outcome = { approved: false, explanation: `Not approved: ${described(wrapped)}` };
		return items.map((item, index) => itemFor(failed, item, index, onRefusal));
	}
}

/** How one request ended, with its token checked; `undefined` while it is open. */
export async function outcomeOf(
	gate: Gate,
	approval: Approval,
	asked: Asked,
): Promise<Outcome | undefined> {
	if (approval.status === 'pending') return undefined;
	const verdict = await gate.call<TokenVerdict>('POST', '/v1/tokens/verify', {
		token: approval.token,
		payload: asked.payload,
	});
	return judged(approval, asked, verdict);
}

function refusalMode(context: IExecuteFunctions): OnRefusal {
	if (isToolReview(context)) return 'review';
	if (context.getNodeParameter('ifNotApproved', 0, 'stop') === 'handOn') return 'handOn';
	return context.continueOnFail() ? 'errorItem' : 'stop';
}

function assertCanWait(context: IExecuteFunctions): void {
	const node = context.getNode();
	// Some callers run a tool inside themselves; the record would be theirs, and nothing could be held back.
	if (context.isToolExecution() || context.getExecuteData().node.id !== node.id) {
		throw new NodeOperationError(
			node,
			'An approval cannot be waited for from inside this kind of tool call',
			{
				description:
					'Connect Placet to an AI Agent node, as a tool or as the human review of other tools.',
			},
		);
	}
}

function finished(
	context: IExecuteFunctions,
	outcomes: Outcome[],
	items: INodeExecutionData[],
	onRefusal: OnRefusal,
): INodeExecutionData[] {
	if (onRefusal === 'stop' && outcomes.some(({ approved }) => !approved)) {
		throw new NodeOperationError(context.getNode(), summed(outcomes));
	}
	return items.map((item, index) => itemFor(outcomes[index] ?? NO_ANSWER, item, index, onRefusal));
}

/** Takes questions back that nobody waits for any more. (A step that is tried again finds them by their names.) */
async function withdraw(gate: Gate, asked: Asked[]): Promise<void> {
	const open = asked.filter(({ request_id }) => request_id !== '');
	await Promise.allSettled(
		open.map(
			async ({ request_id }) =>
				await gate.call<Approval>('POST', `/v1/requests/${request_id}/cancel`),
		),
	);
}

function described(error: unknown): string {
	if (!(error instanceof Error)) return String(error);
	const { description } = error as { description?: string | null };
	return description ? `${error.message} (${description})` : error.message;
}
