import type { IExecuteData, IWebhookFunctions, IWebhookResponseData } from 'n8n-workflow';

import type { Approval } from '../shared/approval';
import { authenticCallback, NotBelieved } from '../shared/callback';
import { Gate } from '../shared/gate';
import { itemFor, summed, type Outcome } from './outcome';
import { failOnResume, passOnResume, rememberedWait, type Asked, type Wait } from './record';
import { outcomeOf } from './wait';

/** How many approvals are read at a time. */
const AT_ONCE = 10;

/**
 * A callback of the gate, to the URL that the waiting step gave it.
 *
 * The callback is only a reason to look: what counts is read again from the gate, for every item. The run goes
 * on when all have ended; until then each callback is taken with thanks.
 *
 * Throws nothing: n8n would take that as a reason to resume the run with an empty item.
 */
export async function resume(context: IWebhookFunctions): Promise<IWebhookResponseData> {
	try {
		const gate = await Gate.of(context);
		const { approval } = authenticCallback(context, gate);
		const { executeData } = context as unknown as { executeData?: IExecuteData };
		const wait = rememberedWait(executeData);
		const known = wait?.asked.some(({ approval_id }) => approval_id === approval.approval_id);
		if (!executeData || !wait || !known) {
			// A late copy, of an earlier round of this step. The gate may forget it.
			return {
				webhookResponse: { resumed: false, reason: 'this step does not wait for this approval' },
			};
		}
		const outcomes = (await someAreOpen(gate, wait.asked))
			? [undefined]
			: await outcomesOf(gate, wait.asked);
		if (outcomes.includes(undefined)) {
			return { webhookResponse: { resumed: false, reason: 'others are still open' } };
		}
		return resumed(context, executeData, wait, outcomes as Outcome[]);
	} catch (error) {
		// Not 2xx, so the gate comes again; the run goes on waiting.
		const believed = !(error instanceof NotBelieved);
		const message = believed ? 'the decision could not be checked; try again' : error.message;
		if (believed) {
			context.logger.warn('Placet: a decision could not be checked; the gate will send it again', {
				error: error instanceof Error ? error.message : String(error),
			});
		}
		context
			.getResponseObject()
			.status(believed ? 503 : 401)
			.json({ resumed: false, reason: message });
		return { noWebhookResponse: true };
	}
}

function resumed(
	context: IWebhookFunctions,
	step: IExecuteData,
	wait: Wait,
	outcomes: Outcome[],
): IWebhookResponseData {
	const webhookResponse = { resumed: true };
	if (wait.onRefusal === 'stop' && outcomes.some(({ approved }) => !approved)) {
		failOnResume(step, context.getNode(), summed(outcomes));
		return { workflowData: [[]], webhookResponse };
	}
	passOnResume(step);
	const items = wait.originals.map((original, index) =>
		itemFor(outcomes[index] as Outcome, original, index, wait.onRefusal),
	);
	return { workflowData: [items], webhookResponse };
}

/**
 * Whether one of several requests is surely open still: one look for all of them. Else each callback of a
 * hundred items would read a hundred approvals.
 */
async function someAreOpen(gate: Gate, asked: Asked[]): Promise<boolean> {
	if (asked.length === 1) return false;
	const ours = new Set(asked.map(({ approval_id }) => approval_id));
	const query = '/v1/requests?status=pending&limit=100';
	const { requests } = await gate.call<{ requests: Approval[] }>('GET', query);
	return requests.some(({ approval_id }) => ours.has(approval_id));
}

/** Every item's outcome, as the gate tells it now. Stops reading at the first group that has an open one. */
async function outcomesOf(gate: Gate, asked: Asked[]): Promise<Array<Outcome | undefined>> {
	const outcomes: Array<Outcome | undefined> = [];
	for (let from = 0; from < asked.length && !outcomes.includes(undefined); from += AT_ONCE) {
		const group = asked.slice(from, from + AT_ONCE);
		outcomes.push(...(await Promise.all(group.map(async (one) => await outcomeNow(gate, one)))));
	}
	return outcomes;
}

async function outcomeNow(gate: Gate, asked: Asked): Promise<Outcome | undefined> {
	if (asked.failure !== undefined) return { approved: false, explanation: asked.failure };
	const approval = await gate.call<Approval>('GET', `/v1/requests/${asked.request_id}`);
	return await outcomeOf(gate, approval, asked);
}
