import type {
	IExecuteFunctions,
	INodeExecutionData,
	INodeType,
	INodeTypeDescription,
	IWebhookFunctions,
	IWebhookResponseData,
} from 'n8n-workflow';
import { NodeConnectionTypes, NodeOperationError } from 'n8n-workflow';

import { testPlacetApi } from '../shared/credentialTest';
import { Gate, nodeError } from '../shared/gate';
import { assertNoModelsChoice } from './model';
import { OPERATIONS } from './operations';
import { approvalProperties } from './properties/approval';
import { tokenProperties } from './properties/token';
import { resume } from './resume';
import { requestAndWait } from './wait';

export class Placet implements INodeType {
	description: INodeTypeDescription = {
		displayName: 'Placet',
		name: 'placet',
		icon: { light: 'file:../../icons/placet.svg', dark: 'file:../../icons/placet.dark.svg' },
		group: ['transform'],
		version: 1,
		subtitle:
			'={{ { "approval:sendAndWait": "request approval and wait", "approval:request": "request approval", "approval:get": "get approval", "approval:getAll": "get many approvals", "approval:cancel": "cancel request", "token:verify": "verify token", "token:redeem": "redeem token" }[$parameter["resource"] + ":" + $parameter["operation"]] }}',
		description: 'Ask a person before the workflow goes on, and prove what they approved',
		defaults: { name: 'Placet' },
		waitingNodeTooltip:
			'={{ $parameter["operation"] === "sendAndWait" ? "Waiting for a decision. Placet has asked the reviewers; the run goes on when they have decided, or when the time limit is over." : "" }}',
		usableAsTool: true,
		inputs: [NodeConnectionTypes.Main],
		outputs: [NodeConnectionTypes.Main],
		credentials: [{ name: 'placetApi', required: true, testedBy: 'testPlacetApi' }],
		webhooks: [
			{
				// The gate's callbacks come here while the execution waits. n8n knows a step that may be resumed by a
				// signed URL by exactly these properties.
				name: 'default',
				httpMethod: 'POST',
				responseMode: 'onReceived',
				responseData: '',
				path: '={{ $nodeId }}',
				restartWebhook: true,
				isFullPath: true,
			},
		],
		properties: [
			{
				displayName: 'Resource',
				name: 'resource',
				type: 'options',
				noDataExpression: true,
				options: [
					{ name: 'Approval', value: 'approval' },
					{ name: 'Token', value: 'token' },
				],
				default: 'approval',
			},
			...approvalProperties,
			...tokenProperties,
		],
	};

	methods = { credentialTest: { testPlacetApi } };

	webhookMethods = {
		default: {
			// The webhook exists as long as the execution waits. There is nothing to register anywhere.
			async checkExists(): Promise<boolean> {
				return true;
			},
			async create(): Promise<boolean> {
				return true;
			},
			async delete(): Promise<boolean> {
				return true;
			},
		},
	};

	async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
		const resource = this.getNodeParameter('resource', 0) as string;
		const operation = this.getNodeParameter('operation', 0) as string;
		if (operation === 'sendAndWait') return [await requestAndWait(this)];

		const run = OPERATIONS[`${resource}:${operation}`];
		if (!run) {
			throw new NodeOperationError(
				this.getNode(),
				`There is no operation "${operation}" of "${resource}"`,
			);
		}
		const items = this.getInputData();
		const output: INodeExecutionData[] = [];
		const fail = (error: unknown, index: number): void => {
			// Thrown on, n8n would hand on the input when it is told to continue.
			if (!this.continueOnFail()) throw nodeError(this, error, index);
			const message = error instanceof Error ? error.message : String(error);
			output.push({ json: { error: message }, pairedItem: { item: index } });
		};
		let gate: Gate;
		try {
			assertNoModelsChoice(this);
			gate = await Gate.patient(this);
		} catch (error) {
			items.forEach((_, index) => fail(error, index));
			return [output];
		}
		for (const [index, item] of items.entries()) {
			try {
				const found = await run(gate, this, item, index);
				output.push(
					...this.helpers.constructExecutionMetaData(this.helpers.returnJsonArray(found), {
						itemData: { item: index },
					}),
				);
			} catch (error) {
				fail(error, index);
			}
		}
		return [output];
	}

	async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
		return await resume(this);
	}
}
