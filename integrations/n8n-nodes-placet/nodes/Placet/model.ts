import type {
	IDataObject,
	IExecuteFunctions,
	INodeExecutionData,
	IRunExecutionData,
} from 'n8n-workflow';

import { itemsOfStep } from './record';
import { isToolReview, reviewedCall } from './toolReview';
import { wrong } from './wrong';

/*
 * What a language model may fill in, and what it may not.
 *
 * Action, Request ID, Time Limit and labels decide which rule of the policy applies. If the model could write one of
 * them, it would pick a rule that approves without a person. So these are never the model's: a `$fromAI` in them is
 * refused, and they are evaluated without anything that the model wrote.
 */

/** `$fromAI` in every case that n8n accepts. */
const FROM_AI = /\$fromAI(?![\w$])/i;

/** Parameters that only word or describe a question. The model may write these when it asks a person by itself. */
const MODELS_OWN_IN_A_TOOL: readonly RegExp[] = [
	/^message$/,
	/^payloadJson$/,
	/^payloadFields\.field\.\d+\.value$/,
	/^requestId$/,
	/^token$/,
	/^tokenPayload$/,
	/^limit$/,
	/^returnAll$/,
	/^filters\b/,
	// n8n's own field, which says what the tool is for.
	/^toolDescription$/,
];

/** In a review the payload is the call itself, so that only the reviewers' sentence is left to word. */
const MODELS_OWN_IN_A_REVIEW: readonly RegExp[] = [/^message$/];

/** Whether an AI agent calls this node as one of its tools; n8n makes that variant of it by itself. */
export function isAgentTool(
	context: Pick<IExecuteFunctions, 'getNode' | 'isToolExecution'>,
): boolean {
	if (isToolReview(context)) return false;
	return context.getNode().type.endsWith('Tool') || context.isToolExecution();
}

/**
 * Refuses a node in which the model would fill in what decides the rule.
 *
 * Reads the parameters as they were written, before any expression is evaluated.
 */
export function assertNoModelsChoice(context: IExecuteFunctions): void {
	const review = isToolReview(context);
	if (!review && !isAgentTool(context)) return;
	const allowed = review ? MODELS_OWN_IN_A_REVIEW : MODELS_OWN_IN_A_TOOL;
	for (const [path, text] of texts(context.getNode().parameters, '')) {
		if (!FROM_AI.test(unescaped(text)) || allowed.some((own) => own.test(path))) continue;
		const where = review ? 'the review of a tool' : 'a tool of an agent';
		throw wrong(
			context,
			0,
			`In ${where}, ${titleOf(path)} cannot be filled in by the model ($fromAI)`,
			{
				description: review
					? 'It decides who is asked, and the model could pick a rule that asks nobody. Write a fixed text. Only the Message may use $fromAI.'
					: 'It decides who is asked, and the model could pick a rule that asks nobody. Write a fixed text. Only the Message and the payload may use $fromAI.',
			},
		);
	}
}

/**
 * Evaluates something while nothing that the model wrote can be seen by its expressions.
 *
 * n8n puts the model's words into the items of a tool and of a review, where `$json`, `$input` and `$tool` find them,
 * and into the record of the run, where `$fromAI` does. For a review the true name of the tool stays readable.
 */
export function withoutModelsWords<T>(context: IExecuteFunctions, index: number, read: () => T): T {
	const review = isToolReview(context);
	if (!review && !isAgentTool(context)) return read();
	const items = itemsOf(context);
	const known = items.map((item) => item.json);
	const current = itemsOfStep(context)[index];
	const safe: IDataObject = review && current ? { tool: reviewedCall(context, current).tool } : {};
	try {
		for (const item of items) item.json = safe;
		return read();
	} finally {
		items.forEach((item, place) => {
			item.json = known[place] as IDataObject;
		});
	}
}

/** Every item in which this step's expressions could find what the model wrote. */
function itemsOf(context: IExecuteFunctions): INodeExecutionData[] {
	const { connectionInputData, runExecutionData } = context as unknown as {
		connectionInputData?: INodeExecutionData[];
		runExecutionData?: IRunExecutionData;
	};
	const runs = runExecutionData?.resultData.runData[context.getNode().name] ?? [];
	const overridden = runs.flatMap(({ inputOverride }) =>
		Object.values(inputOverride ?? {}).flatMap((inputs) => inputs.flatMap((input) => input ?? [])),
	);
	return [...new Set([...itemsOfStep(context), ...(connectionInputData ?? []), ...overridden])];
}

/** Every text in a node's parameters, however deep, with its path. */
function* texts(value: unknown, path: string): Generator<[string, string]> {
	if (typeof value === 'string') {
		yield [path, value];
	} else if (typeof value === 'object' && value !== null) {
		for (const [name, inner] of Object.entries(value)) {
			yield* texts(inner, path === '' ? name : `${path}.${name}`);
		}
	}
}

/** JavaScript allows escapes inside of names and texts: `$from\u0041I` is `$fromAI`. */
function unescaped(text: string): string {
	return text.replace(
		/\\u\{([0-9a-f]{1,6})\}|\\u([0-9a-f]{4})|\\x([0-9a-f]{2})/gi,
		(all, braced: string | undefined, four: string | undefined, two: string | undefined) => {
			const code = parseInt(braced ?? four ?? two ?? '', 16);
			return code <= 0x10ffff ? String.fromCodePoint(code) : all;
		},
	);
}

const TITLES: Record<string, string> = {
	action: 'the Action',
	callbackUrl: 'the Callback URL',
	checkPayload: '"Check the Payload"',
	ifNotApproved: '"If Not Approved"',
	metadata: 'the Metadata',
	operation: 'the Operation',
	payloadFields: 'the Fields',
	payloadJson: 'the Payload JSON',
	payloadMode: 'the Payload',
	redeemedBy: '"Redeemed By"',
	requestId: 'the Request ID',
	resource: 'the Resource',
	timeLimit: 'the Time Limit',
};

function titleOf(path: string): string {
	const [first = '', second = ''] = path.split('.');
	const name = first === 'options' ? second : first;
	return TITLES[name] ?? `the parameter "${name}"`;
}
