import type { IDataObject, IExecuteData, INode, INodeExecutionData } from 'n8n-workflow';
import { NodeOperationError } from 'n8n-workflow';

import type { OnRefusal } from './outcome';

/** What is remembered of one item's question. */
export interface Asked extends IDataObject {
	request_id: string;
	approval_id: string;
	payload: IDataObject;
	/** Why this item could not be asked about. It is not approved then. */
	failure?: string;
}

/** What a waiting step remembers. It lies in n8n's record of the step, where no item's content can reach. */
export interface Wait {
	onRefusal: OnRefusal;
	asked: Asked[];
	originals: INodeExecutionData[];
}

/** The record has lists of items by connection type; ours is one more beside `main`. */
const PLACE = 'placet';

/**
 * Makes the step safe to wait: whatever resumes it without the webhook's consent, it does not pass its input on.
 *
 * When a wait ends by itself, n8n hands on the step's *input* as if it were its output. So the input is
 * replaced by `meanwhile`, and where the run must not go on at all, n8n is told to fail the step.
 */
export function holdBack(
	step: IExecuteData,
	node: INode,
	wait: Wait,
	meanwhile: INodeExecutionData[],
	message: string,
): void {
	const { onRefusal, asked, originals } = wait;
	const stops = onRefusal === 'stop' || onRefusal === 'errorItem';
	const record = { onRefusal, asked } as unknown as IDataObject;
	step.data = {
		main: [onRefusal === 'stop' ? [] : meanwhile],
		[PLACE]: [[{ json: record }], originals],
	};
	if (stops) failOnResume(step, node, message);
}

/** What the step remembers, if it waits. */
export function rememberedWait(step: IExecuteData | undefined): Wait | undefined {
	const [records, originals] = step?.data[PLACE] ?? [];
	const record = records?.[0]?.json as unknown as Wait | undefined;
	if (!record || !originals) return undefined;
	return { onRefusal: record.onRefusal, asked: record.asked, originals };
}

/** Makes n8n fail the step when it is resumed, as it does when a sub-workflow has failed. */
export function failOnResume(step: IExecuteData, node: INode, message: string): void {
	step.metadata = { ...step.metadata, resumeError: new NodeOperationError(node, message) };
}

/** Lets n8n go on with what the webhook hands it. */
export function passOnResume(step: IExecuteData): void {
	const metadata = { ...step.metadata };
	delete metadata.resumeError;
	step.metadata = metadata;
}
