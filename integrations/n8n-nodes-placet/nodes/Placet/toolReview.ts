import type {
	IDataObject,
	IExecuteFunctions,
	INodeExecutionData,
	IRunExecutionData,
} from 'n8n-workflow';
import { NodeOperationError } from 'n8n-workflow';

/** A tool call that an AI agent wants to make. */
export interface ToolCall {
	tool: string;
	parameters: IDataObject;
}

/** Whether this node stands between an AI agent and its tools; n8n makes that variant of it by itself. */
export function isToolReview(context: Pick<IExecuteFunctions, 'getNode'>): boolean {
	return context.getNode().type.endsWith('HitlTool');
}

/**
 * The call that n8n will make if this review approves it.
 *
 * It is read from the agent's own record in the engine, and not from the item: into the item the model can
 * write a tool's name of its choice (n8n spreads the model's `hitlParameters` over it), and the reviewers would
 * approve one tool and set free another. Without that record nothing is asked.
 */
export function reviewedCall(context: IExecuteFunctions, item: INodeExecutionData): ToolCall {
	const { runExecutionData } = context as unknown as { runExecutionData?: IRunExecutionData };
	const node = context.getNode();
	const stack = runExecutionData?.executionData?.nodeExecutionStack ?? [];
	for (const { metadata } of stack) {
		for (const { action, nodeName } of metadata?.subNodeExecutionData?.actions ?? []) {
			if (nodeName !== node.name || action.id !== item.json.toolCallId) continue;
			const hitl = (action.metadata as IDataObject | undefined)?.hitl as IDataObject | undefined;
			if (typeof hitl?.toolName !== 'string') continue;
			const input = hitl.originalInput ?? {};
			const parameters = typeof input === 'object' ? (input as IDataObject) : { input };
			return { tool: hitl.toolName, parameters };
		}
	}
	throw new NodeOperationError(node, 'n8n did not say which tool call is to be reviewed', {
		description: 'The call is not made. This node needs the AI Agent node of a current n8n.',
	});
}
