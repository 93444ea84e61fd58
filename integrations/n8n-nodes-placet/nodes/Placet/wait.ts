import { createHash } from 'node:crypto';

import type { IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';
import { NodeOperationError } from 'n8n-workflow';

import type { Approval } from '../shared/approval';
import { Gate, nodeError } from '../shared/gate';
import { Errand } from './errand';
import { tellWhatIsAsked } from './hints';
import { assertNoModelsChoice } from './model';
import { itemFor, knowsDetails, summed, type Outcome } from './outcome';
import { optionsOf } from './parameters';
import { questionFor, type Asking } from './question';
import {
	holdBack,
	itemsOfStep,
	outputOnlyWhatPasses,
	rememberedWait,
	restoreRetries,
	type Asked,
	type Wait,
} from './record';
import { readPages, settled } from './settle';
import { isToolReview } from './toolReview';
import { countTry, isLastTry } from './tries';

/**
 * How long past the last deadline n8n waits. The gate ends a request at its deadline and then calls back for
 * a day; only its word counts. When n8n gives up after that, the step has no answer, which is no approval.
 */
const AFTER_DEADLINE_MS = 25 * 3600 * 1000;

/**
 * A run that is still asking cannot be called back. The gate tries five times within half a minute and then ever more
 * seldom, so what was asked longer ago than this is looked at once more before the run waits.
 */
const ASKED_LONG_AGO_MS = 20_000;

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
	outputOnlyWhatPasses(context);
	const before = rememberedWait(context.getExecuteData());
	if (before && before.execution === context.getExecutionId()) return lookedAgain(context, before);

	const continues = context.continueOnFail();
	const items = itemsOfStep(context);
	const wait: Wait = {
		execution: context.getExecutionId(),
		key: '',
		onRefusal: isToolReview(context) ? 'review' : continues ? 'errorItem' : 'stop',
		simplify: false,
		details: knowsDetails(context),
		keepsTokens: false,
		asked: [],
	};
	let gate: Gate | undefined;
	countTry(context);
	try {
		assertCanWait(context);
		assertNoModelsChoice(context);
		readSettings(context, wait);
		gate = await Gate.patient(context);
		// A retry of a run that has asked before: it asks anew, and nobody needs the old answers any more.
		if (before) await withdrawn(gate, before.asked);
		const approvals = await askForAll(context, gate, wait, items);
		const open = [...approvals.values()].filter(({ status }) => status === 'pending');
		if (open.length === 0) {
			return finished(context, wait, items, await settled(gate, wait, approvals));
		}
		assertNotStopped(context);
		wait.key = keyOf(wait);
		Errand.begin(
			wait,
			open.map(({ approval_id }) => approval_id),
			hearsAll(context),
		);
		holdBack(context, wait, items);
		const last = Math.max(...open.map(({ deadline }) => Date.parse(deadline ?? '') || Date.now()));
		await context.putExecutionToWait(new Date(last + AFTER_DEADLINE_MS));
		// Only to look at while the run waits. An `error` in here would make n8n try the step again.
		return wait.asked.map(({ request_id }, index) => ({
			json: { approved: false, request_id },
			pairedItem: { item: index },
		}));
	} catch (error) {
		if (gate && (isLastTry(context) || isStopped(context))) await withdrawn(gate, wait.asked);
		const wrapped = nodeError(context, error);
		if (!continues) throw wrapped;
		const failed: Outcome = { approved: false, explanation: `Not approved: ${described(wrapped)}` };
		return items.map((item, index) => itemFor(failed, item, index, wait));
	}
}

/** Asks for each item. What cannot be asked stops the step, or (where errors are items) this item alone. */
async function askForAll(
	context: IExecuteFunctions,
	gate: Gate,
	wait: Wait,
	items: INodeExecutionData[],
): Promise<Map<string, Approval>> {
	const continues = context.continueOnFail();
	const approvals = new Map<string, Approval>();
	const askedAt = new Map<Asked, number>();
	const fails = (index: number, error: unknown): void => {
		if (!continues) throw nodeError(context, error, index);
		wait.asked[index] = unasked(`Not approved: ${described(error)}`);
	};
	// All are made before the first is asked: nobody is bothered for a step that has a fault.
	const questions = items.map((item, index): Asking | undefined => {
		try {
			return questionFor(context, item, index);
		} catch (error) {
			fails(index, error);
			return undefined;
		}
	});
	tellWhatIsAsked(context, questions);
	for (const [index, asking] of questions.entries()) {
		if (asking === undefined) continue;
		try {
			assertNotStopped(context);
			const { question, redeemer, named } = asking;
			question.callback_url = context.getSignedResumeUrl();
			const approval = await gate.call<Approval>('POST', '/v1/requests', question);
			approvals.set(approval.approval_id, approval);
			const asked = {
				request_id: question.request_id,
				approval_id: approval.approval_id,
				payload: question.payload,
				redeemer,
				named,
			};
			wait.asked[index] = asked;
			askedAt.set(asked, Date.now());
		} catch (error) {
			if (isStopped(context)) throw nodeError(context, error);
			fails(index, error);
		}
	}
	const longAgo = Date.now() - ASKED_LONG_AGO_MS;
	const old = [...askedAt].filter(([, at]) => at < longAgo).map(([asked]) => asked);
	if (old.length > 0) {
		// What cannot be seen now is heard of by its callback.
		await readPages(gate, old, approvals).catch(() => undefined);
	}
	return approvals;
}

function unasked(failure: string): Asked {
	return { request_id: '', approval_id: '', payload: {}, redeemer: '', named: false, failure };
}

/** The step runs once more after it has waited: it was refused, or n8n's own limit has run out. */
function lookedAgain(context: IExecuteFunctions, wait: Wait): INodeExecutionData[] {
	restoreRetries(context.getExecuteData());
	const { onRefusal, refused } = wait;
	if (onRefusal === 'stop') {
		throw new NodeOperationError(context.getNode(), refused ?? NO_ANSWER.explanation);
	}
	const explanation = refused ?? NO_ANSWER.explanation;
	return itemsOfStep(context).map((item, index) =>
		itemFor({ approved: false, explanation }, item, index, wait),
	);
}

function readSettings(context: IExecuteFunctions, wait: Wait): void {
	const options = optionsOf(context, 0);
	wait.simplify = options.simplify === true;
	if (isToolReview(context)) return;
	wait.keepsTokens = options.keepToken === true;
	if (context.getNodeParameter('ifNotApproved', 0, 'stop') === 'handOn') wait.onRefusal = 'handOn';
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

function isStopped(context: IExecuteFunctions): boolean {
	return context.getExecutionCancelSignal()?.aborted === true;
}

function assertNotStopped(context: IExecuteFunctions): void {
	if (isStopped(context)) throw new NodeOperationError(context.getNode(), 'The run was stopped');
}

/**
 * Whether every callback of this wait comes to this very process.
 *
 * In queue mode, runs that somebody starts in the editor are run by the main process, while other processes may take
 * the callbacks. Every other run is a worker's there, to which no callback comes at all.
 */
function hearsAll(context: IExecuteFunctions): boolean {
	return !['manual', 'evaluation'].includes(context.getMode());
}

/** The same for one wait, and never for two: the names under which the items redeem are unique. */
function keyOf(wait: Wait): string {
	const names = wait.asked.map(({ redeemer, approval_id }) => [redeemer, approval_id]);
	return createHash('sha256')
		.update(JSON.stringify([wait.execution, names]))
		.digest('hex');
}

function finished(
	context: IExecuteFunctions,
	wait: Wait,
	items: INodeExecutionData[],
	outcomes: Outcome[],
): INodeExecutionData[] {
	if (wait.onRefusal === 'stop' && outcomes.some(({ approved }) => !approved)) {
		throw new NodeOperationError(context.getNode(), summed(outcomes));
	}
	return items.map((item, index) => itemFor(outcomes[index] ?? NO_ANSWER, item, index, wait));
}

/**
 * Takes questions back that nobody waits for any more. (A step that is tried again finds them by their names.)
 *
 * What the builder has named stays: other runs may wait for the same answer.
 */
async function withdrawn(gate: Gate, asked: readonly Asked[]): Promise<void> {
	const open = asked.filter((one) => one?.request_id && !one.named);
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
