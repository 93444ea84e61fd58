import type { IExecuteData, IWebhookFunctions, IWebhookResponseData } from 'n8n-workflow';

import { authenticCallback, NotBelieved } from '../shared/callback';
import { Gate } from '../shared/gate';
import { Errand } from './errand';
import { itemFor, summed, type Outcome } from './outcome';
import { originalsOf, passOn, refuse, rememberedWait, type Wait } from './record';

/**
 * A callback of the gate, to the URL that the waiting step gave it.
 *
 * The callback is only a reason to look: what counts is what the gate says now, of every item: it redeems the token or
 * is asked how the request stands. The run goes on when all have ended; until then each callback is taken with thanks.
 *
 * Throws nothing: n8n would take that as a reason to resume the run with an empty item.
 */
export async function resume(context: IWebhookFunctions): Promise<IWebhookResponseData> {
	try {
		const { executeData } = context as unknown as { executeData?: IExecuteData };
		const wait = rememberedWait(executeData);
		const errand = wait && Errand.of(wait);
		const gate = await Gate.of(context, async (read) =>
			errand && wait.asked.length > 1 ? await errand.credentials(read) : await read(),
		);
		const { approval } = authenticCallback(context, gate);
		const known = wait?.asked.some(({ approval_id }) => approval_id === approval.approval_id);
		if (!wait || !errand || !known) {
			// A late copy, of an earlier round of this step. The gate may forget it.
			return answer(false, 'this step does not wait for this approval');
		}
		const { found, first } = await errand.look(gate, wait, approval);
		if (found === 'open') return answer(false, 'others are still open');
		if (!first) return answer(false, 'another callback of the same moment lets the run go on');
		errand.done();
		return resumed(context, wait, found);
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

function answer(resumes: boolean, reason: string): IWebhookResponseData {
	return { webhookResponse: { resumed: resumes, reason } };
}

function resumed(
	context: IWebhookFunctions,
	wait: Wait,
	outcomes: Outcome[],
): IWebhookResponseData {
	const webhookResponse = { resumed: true };
	const originals = originalsOf(context);
	if (!originals || (wait.onRefusal === 'stop' && outcomes.some(({ approved }) => !approved))) {
		refuse(context, summed(outcomes));
		return { workflowData: [[]], webhookResponse };
	}
	const items = wait.asked.map((_, index) =>
		itemFor(outcomes[index] as Outcome, originals[index] ?? { json: {} }, index, wait),
	);
	passOn(context);
	return { workflowData: [items], webhookResponse };
}
