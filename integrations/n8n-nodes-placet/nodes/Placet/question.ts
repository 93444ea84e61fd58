import { createHash } from 'node:crypto';

import type { IDataObject, IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';
import { NodeOperationError } from 'n8n-workflow';

import { isToolReview, reviewedCall } from './toolReview';

/** What the gate takes in `POST /v1/requests`. */
export interface Question extends IDataObject {
	request_id: string;
	summary: string;
	action?: string;
	payload: IDataObject;
	timeout_seconds?: number;
	callback_url?: string;
	wait_seconds?: number;
	metadata: IDataObject;
}

const SUMMARY_CHARACTERS = 500;

/** The question for one item, made from the node's parameters. */
export function questionFor(
	context: IExecuteFunctions,
	item: INodeExecutionData,
	index: number,
): Question {
	const options = context.getNodeParameter('options', index, {}) as IDataObject;
	const message = String(context.getNodeParameter('message', index, '') ?? '');
	let action = String(context.getNodeParameter('action', index, '') ?? '').trim();
	let payload: IDataObject;
	let summary = message;
	if (isToolReview(context)) {
		const call = reviewedCall(context, item);
		payload = { tool: call.tool, parameters: call.parameters };
		action ||= `tool.${call.tool.replace(/[^A-Za-z0-9_:-]+/g, '_').slice(0, 100) || 'unnamed'}`;
		// n8n's own default message prints an object where the parameters belong.
		summary = message.replaceAll('[object Object]', JSON.stringify(call.parameters));
	} else {
		payload = payloadFor(context, item, index);
	}
	if (summary.trim() === '') {
		throw new NodeOperationError(context.getNode(), 'The message for the reviewers is empty', {
			itemIndex: index,
			description: 'Say in one sentence what will happen. An expression may have come out empty.',
		});
	}
	const question: Question = {
		request_id: requestIdFor(context, index, options),
		summary: shortened(summary),
		payload,
		metadata: metadataFor(context, index, options),
	};
	if (action !== '') question.action = action;
	const minutes = Number(options.timeLimit ?? 0);
	if (minutes > 0) question.timeout_seconds = Math.max(1, Math.round(minutes * 60));
	return question;
}

/** The JSON of what will be done: it is shown to the reviewers, and the token is bound to it. */
export function payloadFor(
	context: IExecuteFunctions,
	item: INodeExecutionData,
	index: number,
): IDataObject {
	const mode = context.getNodeParameter('payloadMode', index, 'wholeItem') as string;
	if (mode === 'fields') {
		const { field = [] } = context.getNodeParameter('payloadFields', index, {}) as {
			field?: Array<{ name: string; value: IDataObject[string] }>;
		};
		return Object.fromEntries(field.map(({ name, value }) => [name, value])) as IDataObject;
	}
	if (mode === 'json') return jsonObject(context, 'payloadJson', index);
	return item.json;
}

/** A parameter of type JSON as an object, whether it was typed in or came out of an expression. */
export function jsonObject(
	context: IExecuteFunctions,
	parameter: string,
	index: number,
): IDataObject {
	let value: unknown = context.getNodeParameter(parameter, index);
	if (typeof value === 'string') {
		try {
			value = JSON.parse(value);
		} catch (error) {
			throw new NodeOperationError(context.getNode(), 'The payload is not valid JSON', {
				itemIndex: index,
				description: error instanceof Error ? error.message : undefined,
			});
		}
	}
	if (typeof value !== 'object' || value === null || Array.isArray(value)) {
		throw new NodeOperationError(context.getNode(), 'The payload must be a JSON object', {
			itemIndex: index,
			description: 'Such as { "to": "acme@example.com", "amount": 5000 }',
		});
	}
	return value as IDataObject;
}

/**
 * The idempotency key: the same for every try of this step in this execution, and for nothing else.
 *
 * Execution numbers alone would not do: two n8n servers, or one whose database was made anew, count from
 * one again, and would be given each other's decisions. The resume URL holds a random token of the execution.
 */
function requestIdFor(context: IExecuteFunctions, index: number, options: IDataObject): string {
	const chosen = String(options.requestId ?? '').trim();
	if (chosen !== '') return chosen;
	const execution = context.getExecutionId();
	const step = [
		context.getInstanceId(),
		execution,
		context.evaluateExpression('{{ $execution.resumeUrl }}', index),
		context.getNode().id,
		context.evaluateExpression('{{ $runIndex }}', index),
		index,
	];
	const digest = createHash('sha256').update(JSON.stringify(step)).digest('hex').slice(0, 32);
	return `n8n-${execution}-${index}-${digest}`;
}

/** Comes back on every approval, so that a hook or a report can tell where a request came from. */
function metadataFor(context: IExecuteFunctions, index: number, options: IDataObject): IDataObject {
	const { entry = [] } = (options.metadata ?? {}) as {
		entry?: Array<{ name: string; value: unknown }>;
	};
	const workflow = context.getWorkflow();
	return {
		workflow_id: String(workflow.id ?? ''),
		workflow: String(workflow.name ?? ''),
		execution_id: context.getExecutionId(),
		node: context.getNode().name,
		item: String(index),
		...Object.fromEntries(entry.map(({ name, value }) => [name, String(value)])),
	};
}

function shortened(summary: string): string {
	const characters = [...summary.trim()];
	if (characters.length <= SUMMARY_CHARACTERS) return characters.join('');
	return `${characters.slice(0, SUMMARY_CHARACTERS - 1).join('')}…`;
}
