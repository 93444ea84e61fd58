import { createHash } from 'node:crypto';

import type { IDataObject, IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';

import { withoutModelsWords } from './model';
import {
	isExpression,
	nameParameter,
	numberParameter,
	optionsOf,
	rawParameter,
} from './parameters';
import { exact, payloadFor } from './payload';
import { isToolReview, reviewedCall } from './toolReview';
import { holdsToken } from './traces';
import { wrong } from './wrong';

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

/** The question for one item, and what reviewers are not shown of the item. */
export interface Asking {
	question: Question;
	/** Under whose name the token is redeemed: this step of this run, for this item. */
	redeemer: string;
	/** Whether the builder chose the request ID, so that other runs may ask under it, too. */
	named: boolean;
	leftOut: string[];
}

const SUMMARY_CHARACTERS = 500;
/** The gate's own limit: 30 days. */
const LONGEST_MINUTES = 30 * 24 * 60;

/** The question for one item, made from the node's parameters. */
export function questionFor(
	context: IExecuteFunctions,
	item: INodeExecutionData,
	index: number,
): Asking {
	const options = optionsOf(context, index);
	let action = actionFor(context, index);
	let payload: IDataObject;
	let leftOut: string[] = [];
	let summary = context.getNodeParameter('message', index, '') as unknown;
	if (isToolReview(context)) {
		const call = reviewedCall(context, item);
		payload = exact(context, { tool: call.tool, parameters: call.parameters }, index);
		action ||= `tool.${call.tool.replace(/[^A-Za-z0-9_:-]+/g, '_').slice(0, 100) || 'unnamed'}`;
		// n8n's own default message prints an object where the parameters belong.
		if (typeof summary === 'string') {
			summary = summary.replaceAll('[object Object]', JSON.stringify(call.parameters));
		}
	} else {
		({ payload, leftOut } = payloadFor(context, item, index));
	}
	const step = stepName(context, index);
	const chosen = nameParameter(
		context,
		index,
		'The Request ID',
		options.requestId,
		rawParameter(context, 'options', 'requestId'),
	);
	const question: Question = {
		request_id:
			chosen === '' ? `n8n-${context.getExecutionId()}-${index}-${step.slice(0, 32)}` : chosen,
		summary: summaryFrom(context, index, summary),
		payload,
		metadata: metadataFor(context, index, options),
	};
	if (action !== '') question.action = action;
	const raw = rawParameter(context, 'options', 'timeLimit');
	const minutes = numberParameter(context, index, 'The Time Limit', options.timeLimit, raw, {
		min: 0,
		max: LONGEST_MINUTES,
		unit: 'minutes',
	});
	if (minutes !== undefined && minutes > 0) {
		question.timeout_seconds = Math.max(1, Math.round(minutes * 60));
	}
	return { question, redeemer: redeemerFor(context, index, step), named: chosen !== '', leftOut };
}

function actionFor(context: IExecuteFunctions, index: number): string {
	const value = withoutModelsWords(context, index, () =>
		context.getNodeParameter('action', index, ''),
	) as unknown;
	return nameParameter(context, index, 'The Action', value, rawParameter(context, 'action'));
}

/** The sentence for the reviewers, as they will read it. */
function summaryFrom(context: IExecuteFunctions, index: number, value: unknown): string {
	const text =
		typeof value === 'object' && value !== null ? '[object Object]' : String(value ?? '');
	if (text.trim() === '') {
		throw wrong(context, index, 'The message for the reviewers is empty', {
			description: 'Say in one sentence what will happen. An expression may have come out empty.',
		});
	}
	if (text.includes('[object Object]')) {
		throw wrong(context, index, 'The message for the reviewers has an object in it, not a text', {
			description: 'Pick a field of it, such as {{ $json.amount }}, or use JSON.stringify().',
		});
	}
	if (holdsToken(text)) {
		throw wrong(context, index, 'The message holds the token of an earlier approval', {
			description: 'Reviewers would see it.',
		});
	}
	const characters = [...text.trim()];
	if (characters.length <= SUMMARY_CHARACTERS) return characters.join('');
	return `${characters.slice(0, SUMMARY_CHARACTERS - 1).join('')}…`;
}

/**
 * This step of this run, for this item: the same for every try, and for nothing else.
 *
 * Execution numbers alone would not do: two n8n servers, or one whose database was made anew, count from
 * one again, and would be given each other's decisions. The resume URL holds a random token of the execution.
 */
function stepName(context: IExecuteFunctions, index: number): string {
	const step = [
		context.getInstanceId(),
		context.getExecutionId(),
		context.evaluateExpression('{{ $execution.resumeUrl }}', index),
		context.getNode().id,
		context.evaluateExpression('{{ $runIndex }}', index),
		index,
	];
	return createHash('sha256').update(JSON.stringify(step)).digest('hex');
}

/** The gate keeps this name in its record, so it begins with what a person can look up in n8n. */
function redeemerFor(context: IExecuteFunctions, index: number, step: string): string {
	const node = [...context.getNode().name].slice(0, 60).join('');
	return `n8n execution ${context.getExecutionId()}, node ${node}, item ${index}, ${step.slice(0, 32)}`;
}

/** Comes back on every approval, so that a hook or a report can tell where a request came from. */
function metadataFor(context: IExecuteFunctions, index: number, options: IDataObject): IDataObject {
	const workflow = context.getWorkflow();
	const own: IDataObject = {
		workflow_id: String(workflow.id ?? ''),
		workflow: String(workflow.name ?? ''),
		execution_id: context.getExecutionId(),
		node: context.getNode().name,
		item: String(index),
		// Started by hand in the editor: the policy can send such requests to the builder.
		n8n_mode: ['manual', 'evaluation'].includes(context.getMode()) ? 'test' : 'production',
	};
	const { entry = [] } = (options.metadata ?? {}) as {
		entry?: Array<{ name?: unknown; value?: unknown }>;
	};
	const labels = new Map<string, string>();
	entry.forEach(({ name: given, value }, place) => {
		const name = typeof given === 'string' ? given.trim() : '';
		const raw = rawParameter(context, 'options', 'metadata', 'entry', place, 'value');
		if (name === '') throw wrong(context, index, `Entry ${place + 1} of the Metadata has no name`);
		if (labels.has(name)) throw wrong(context, index, `The Metadata has the name "${name}" twice`);
		if (Object.hasOwn(own, name)) {
			throw wrong(context, index, `The Metadata cannot set "${name}", which n8n sets by itself`);
		}
		if (typeof value === 'object' && value !== null) {
			throw wrong(context, index, `The Metadata "${name}" must be a text, and is an object`);
		}
		const text = String(value ?? '');
		if (isExpression(raw) && text.trim() === '') {
			throw wrong(context, index, `The Metadata "${name}" comes out empty`);
		}
		if (text.includes('[object Object]')) {
			throw wrong(context, index, `The Metadata "${name}" has an object in it, not a text`);
		}
		if (holdsToken(text)) {
			throw wrong(context, index, `The Metadata "${name}" holds the token of an earlier approval`);
		}
		labels.set(name, text);
	});
	return { ...own, ...Object.fromEntries(labels) };
}
