import type {
	IDataObject,
	IExecuteData,
	IExecuteFunctions,
	INode,
	INodeExecutionData,
	IRunExecutionData,
	IWebhookFunctions,
} from 'n8n-workflow';

import type { OnRefusal } from './outcome';

/*
 * How a step waits, so that nothing but a decision lets its items go on.
 *
 * When a wait ends by itself, n8n hands on the step's input as if it were its output. So while a step waits, its entry
 * on n8n's stack holds no items, and a second entry lies behind it: the step once more, with its items and with what
 * it has asked. A decision that lets the run go on takes the second entry away. In every other case (n8n's own limit
 * runs out, the run is stopped and then retried, an item is refused) n8n finds nothing in the first entry and runs
 * the second, which is `execute()` again; it finds this record and knows what to do.
 */

/** What is remembered of one item's question. */
export interface Asked extends IDataObject {
	request_id: string;
	approval_id: string;
	payload: IDataObject;
	redeemer: string;
	/** Whether the builder chose the request ID, so that other runs may wait for the same answer. */
	named: boolean;
	/** Why this item could not be asked about. It is not approved then. */
	failure?: string;
}

/** What a waiting step remembers. It lies in n8n's record of the step, where no item's content can reach. */
export interface Wait {
	/** The run that has asked. A retry of it has another number. */
	execution: string;
	/** Differs for each wait: two rounds of a loop are two. */
	key: string;
	onRefusal: OnRefusal;
	/** Whether only the most needed fields of an approval are put out. */
	simplify: boolean;
	/** Whether this n8n takes an item with `error` and `details` for an error. */
	details: boolean;
	/** Whether the tokens are left for a later Redeem step. */
	keepsTokens: boolean;
	asked: Asked[];
	/** Why the step fails, once that is known. */
	refused?: string;
}

/** What is set aside for the second look. */
interface SetAside extends IDataObject {
	wait: IDataObject;
	retryOnFail: boolean;
}

/** The stack has lists of items by connection type; ours is one more beside `main`. */
const PLACE = 'placet';

/** Leaves nothing in the step's entry, and its items in a second one behind it. */
export function holdBack(
	context: IExecuteFunctions,
	wait: Wait,
	items: INodeExecutionData[],
): void {
	const step = context.getExecuteData();
	const node = context.getNode();
	const aside: SetAside = {
		wait: wait as unknown as IDataObject,
		retryOnFail: node.retryOnFail === true,
	};
	const record = [[{ json: aside }]];
	const second: IExecuteData = {
		...step,
		// A refusal is not a failure that another try could mend.
		node: { ...step.node, retryOnFail: false } as INode,
		// n8n runs a step that finds items in any input, but when it takes a step for disabled it hands on the first.
		data: { main: [[], items], [PLACE]: record },
		// The items lie in the second input then, and expressions such as $('Each').item look up where that came from.
		source: twice(step.source),
		// In the place of the waiting entry's run, so that the step has one run and not two.
		runIndex: runIndexOf(context),
	} as IExecuteData;
	step.data = { main: [[]], [PLACE]: record };
	stackOf(context)?.unshift(second);
}

/** What the step remembers, if it waits or has waited. */
export function rememberedWait(step: IExecuteData | undefined): Wait | undefined {
	return asideOf(step)?.wait as unknown as Wait | undefined;
}

/** The items of a waiting step, from its second entry. */
export function originalsOf(context: IWebhookFunctions): INodeExecutionData[] | undefined {
	return secondLook(context)?.data.main?.[1] ?? undefined;
}

/** The items that a step works on, also when it looks again. */
export function itemsOfStep(context: IExecuteFunctions): INodeExecutionData[] {
	const items = context.getInputData();
	if (items.length > 0 || !rememberedWait(context.getExecuteData())) return items;
	return context.getExecuteData().data.main?.[1] ?? [];
}

/** Lets the run go on with what the webhook hands it: the second look is not needed any more. */
export function passOn(context: IWebhookFunctions): void {
	const stack = stackOf(context);
	const second = secondLook(context);
	if (stack && second) stack.splice(stack.indexOf(second), 1);
}

/** Lets the second look fail the step, with these words. */
export function refuse(context: IWebhookFunctions, message: string): void {
	const second = secondLook(context);
	const aside = asideOf(second);
	if (!second || !aside) return;
	aside.wait = { ...aside.wait, refused: message };
	second.data = { ...second.data, main: [second.data.main?.[1] ?? []] };
	second.source = second.source && {
		...second.source,
		main: (second.source.main ?? []).slice(0, 1),
	};
}

/**
 * Switches "Always Output Data" off for this run of the step.
 *
 * n8n puts an empty item into an empty output then, and the branch of what was approved would run with it.
 */
export function outputOnlyWhatPasses(context: IExecuteFunctions): void {
	const step = context.getExecuteData();
	step.node = { ...step.node, alwaysOutputData: false };
}

/** Gives a step that looks again the retry settings that its builder chose. */
export function restoreRetries(step: IExecuteData): void {
	const aside = asideOf(step);
	if (aside?.retryOnFail) step.node.retryOnFail = true;
}

function twice(source: IExecuteData['source']): IExecuteData['source'] {
	const first = source?.main?.[0];
	return first ? { ...source, main: [first, first] } : source;
}

function secondLook(context: IWebhookFunctions): IExecuteData | undefined {
	const [first, second] = stackOf(context) ?? [];
	if (!first || !second || second.node.name !== first.node.name) return undefined;
	return rememberedWait(second)?.key === rememberedWait(first)?.key ? second : undefined;
}

function asideOf(step: IExecuteData | undefined): SetAside | undefined {
	return step?.data[PLACE]?.[0]?.[0]?.json as SetAside | undefined;
}

/** n8n's stack of what is to be run. */
function stackOf(context: IExecuteFunctions | IWebhookFunctions): IExecuteData[] | undefined {
	const { runExecutionData } = context as unknown as { runExecutionData?: IRunExecutionData };
	return runExecutionData?.executionData?.nodeExecutionStack;
}

function runIndexOf(context: IExecuteFunctions): number {
	return Number(context.evaluateExpression('{{ $runIndex }}', 0));
}
