import type {
	IDataObject,
	IHookFunctions,
	INodeType,
	INodeTypeDescription,
	IWebhookFunctions,
	IWebhookResponseData,
} from 'n8n-workflow';
import { NodeConnectionTypes } from 'n8n-workflow';

import { authenticCallback, NotBelieved } from '../shared/callback';
import { codeOf, Gate } from '../shared/gate';

/** The hook at the gate that belongs to this node, as its static data remembers it. */
interface Hook extends IDataObject {
	id: string;
	url: string;
	events: string;
}

export class PlacetTrigger implements INodeType {
	description: INodeTypeDescription = {
		displayName: 'Placet Trigger',
		name: 'placetTrigger',
		icon: { light: 'file:../../icons/placet.svg', dark: 'file:../../icons/placet.dark.svg' },
		group: ['trigger'],
		version: 1,
		subtitle:
			'={{ $parameter["events"].map((event) => event.replace("approval.", "")).join(", ") }}',
		description: 'Starts the workflow when an approval is requested or decided',
		eventTriggerDescription: 'Ask for an approval, or decide one, to see an event here',
		defaults: { name: 'Placet Trigger' },
		inputs: [],
		outputs: [NodeConnectionTypes.Main],
		credentials: [{ name: 'placetApi', required: true }],
		webhooks: [
			{
				name: 'default',
				httpMethod: 'POST',
				responseMode: 'onReceived',
				path: 'placet',
			},
		],
		properties: [
			{
				displayName: 'Events',
				name: 'events',
				type: 'multiOptions',
				required: true,
				options: [
					{
						name: 'Approval Decided',
						value: 'approval.decided',
						description: 'A request was approved or rejected, has expired, or was cancelled',
					},
					{
						name: 'Approval Requested',
						value: 'approval.requested',
						description: 'A request was taken, and reviewers are being asked',
					},
				],
				default: ['approval.decided'],
				description:
					'What to hear of. A client hears of its own requests; one with the role "auditor" hears of all.',
			},
			{
				displayName: 'Only These Outcomes',
				name: 'outcomes',
				type: 'multiOptions',
				options: [
					{ name: 'Approved', value: 'approved' },
					{ name: 'Cancelled', value: 'cancelled' },
					{ name: 'Expired', value: 'expired' },
					{ name: 'Rejected', value: 'rejected' },
				],
				default: [],
				description: 'Leave empty to hear of every outcome',
				displayOptions: { show: { events: ['approval.decided'] } },
			},
		],
	};

	webhookMethods = {
		default: {
			async checkExists(this: IHookFunctions): Promise<boolean> {
				const known = hooksOf(this)[slotOf(this)];
				if (!known) return false;
				if (
					known.url === this.getNodeWebhookUrl('default') &&
					known.events === eventsOf(this).join()
				) {
					return true;
				}
				// The address of this n8n or the choice of events has changed.
				await removed(this);
				return false;
			},

			async create(this: IHookFunctions): Promise<boolean> {
				const url = String(this.getNodeWebhookUrl('default'));
				const events = eventsOf(this);
				const gate = await Gate.of(this);
				const hook = await gate.call<{ hook_id: string }>('POST', '/v1/hooks', {
					url,
					events,
				});
				hooksOf(this)[slotOf(this)] = { id: hook.hook_id, url, events: events.join() };
				return true;
			},

			async delete(this: IHookFunctions): Promise<boolean> {
				return await removed(this);
			},
		},
	};

	async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
		let callback;
		try {
			callback = authenticCallback(this, await Gate.of(this));
		} catch (error) {
			// Never thrown on: n8n would run the workflow with an empty item.
			const [status, reason] =
				error instanceof NotBelieved
					? [401, error.message]
					: [503, 'the event could not be checked; try again'];
			this.getResponseObject().status(status).json({ taken: false, reason });
			return { noWebhookResponse: true };
		}
		const { id, type, timestamp, approval } = callback;
		const outcomes = this.getNodeParameter('outcomes', []) as string[];
		if (type === 'approval.decided' && outcomes.length > 0 && !outcomes.includes(approval.status)) {
			return { webhookResponse: { taken: true } };
		}
		return {
			workflowData: [[{ json: { event: type, event_id: id, timestamp, ...approval } }]],
			webhookResponse: { taken: true },
		};
	}
}

/** Listening in the editor and being active are two hooks: the one must not end the other. */
function slotOf(context: IHookFunctions): 'test' | 'active' {
	return context.getMode() === 'manual' ? 'test' : 'active';
}

function hooksOf(context: IHookFunctions): Partial<Record<'test' | 'active', Hook>> {
	return context.getWorkflowStaticData('node') as Partial<Record<'test' | 'active', Hook>>;
}

function eventsOf(context: IHookFunctions): string[] {
	return [...(context.getNodeParameter('events') as string[])].sort();
}

async function removed(context: IHookFunctions): Promise<boolean> {
	const hooks = hooksOf(context);
	const slot = slotOf(context);
	const known = hooks[slot];
	if (!known) return true;
	try {
		const gate = await Gate.of(context);
		await gate.call<undefined>('DELETE', `/v1/hooks/${encodeURIComponent(known.id)}`);
	} catch (error) {
		if (codeOf(error) !== 'not_found') return false;
	}
	delete hooks[slot];
	return true;
}
