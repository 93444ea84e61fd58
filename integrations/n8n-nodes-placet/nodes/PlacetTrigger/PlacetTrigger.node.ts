import type {
	IDataObject,
	IHookFunctions,
	INodeType,
	INodeTypeDescription,
	IWebhookFunctions,
	IWebhookResponseData,
} from 'n8n-workflow';
import { NodeConnectionTypes } from 'n8n-workflow';

import { simplified } from '../shared/approval';
import { authenticCallback, NotBelieved } from '../shared/callback';
import { testPlacetApi } from '../shared/credentialTest';
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
		description:
			'Starts the workflow when somebody asks for an approval, or when a request has ended',
		eventTriggerDescription: 'Ask for an approval, or decide about one, to see the event here',
		defaults: { name: 'Placet Trigger' },
		inputs: [],
		outputs: [NodeConnectionTypes.Main],
		credentials: [{ name: 'placetApi', required: true, testedBy: 'testPlacetApi' }],
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
						description:
							'A request has ended: it was approved, rejected or cancelled, or it has expired',
					},
					{
						name: 'Approval Requested',
						value: 'approval.requested',
						description: 'A client has asked for an approval, and reviewers are being told',
					},
				],
				default: ['approval.decided'],
				description:
					'Which events start the workflow. It hears of the requests of its own credential\'s client; a client with the role "auditor" hears of everybody\'s.',
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
				description: 'Which outcomes start the workflow. Leave empty for all of them.',
				displayOptions: { show: { events: ['approval.decided'] } },
			},
			{
				displayName: 'Simplify',
				name: 'simplify',
				type: 'boolean',
				default: false,
				description:
					'Whether to return a simplified version of the response instead of the raw data',
			},
		],
	};

	methods = { credentialTest: { testPlacetApi } };

	webhookMethods = {
		default: {
			/**
			 * Always "no", so that the gate is asked again at each activation: the hook may be gone there. For a gate,
			 * one URL and its events are one subscription, however often it is asked for.
			 */
			async checkExists(): Promise<boolean> {
				return false;
			},

			async create(this: IHookFunctions): Promise<boolean> {
				const url = String(this.getNodeWebhookUrl('default'));
				const events = eventsOf(this);
				const before = hooksOf(this)[slotOf(this)];
				const gate = await Gate.of(this);
				const { hook_id } = await gate.call<{ hook_id: string }>('POST', '/v1/hooks', {
					url,
					events,
				});
				hooksOf(this)[slotOf(this)] = { id: hook_id, url, events: events.join() };
				// After the new one is there, so that no event falls in between.
				if (before && before.id !== hook_id) await ended(gate, before.id);
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
		const shown =
			this.getNodeParameter('simplify', false) === true ? simplified(approval) : approval;
		return {
			workflowData: [[{ json: { event: type, event_id: id, timestamp, ...shown } }]],
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
	if (!(await ended(await Gate.of(context), known.id))) return false;
	delete hooks[slot];
	return true;
}

/** Whether the gate has no such hook any more. */
async function ended(gate: Gate, id: string): Promise<boolean> {
	try {
		await gate.call<undefined>('DELETE', `/v1/hooks/${encodeURIComponent(id)}`);
		return true;
	} catch (error) {
		return codeOf(error) === 'not_found';
	}
}
