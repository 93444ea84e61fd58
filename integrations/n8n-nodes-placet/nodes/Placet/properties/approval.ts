import type { IDisplayOptions, INodeProperties } from 'n8n-workflow';

const APPROVAL = ['approval'];
const ASKING: IDisplayOptions = {
	show: { resource: APPROVAL, operation: ['request', 'sendAndWait'] },
};
/**
 * n8n makes the panel of its human review from this one, and sets "responseType" to "approval" there. What a review
 * does not use is hidden by that: it always shows the call itself, and its answer goes to the agent.
 */
const NOT_IN_A_REVIEW: IDisplayOptions['hide'] = { responseType: ['approval'] };
const MAPPING: IDisplayOptions = { show: ASKING.show, hide: NOT_IN_A_REVIEW };
const WAITING: IDisplayOptions = {
	show: { resource: APPROVAL, operation: ['sendAndWait'] },
	hide: NOT_IN_A_REVIEW,
};

const responseType: INodeProperties = {
	displayName: 'Response Type',
	name: 'responseType',
	type: 'hidden',
	default: 'outcome',
};

const operation: INodeProperties = {
	displayName: 'Operation',
	name: 'operation',
	type: 'options',
	noDataExpression: true,
	displayOptions: { show: { resource: APPROVAL } },
	options: [
		{
			name: 'Cancel',
			value: 'cancel',
			action: 'Cancel a request',
			description: 'Withdraw a request that is still open',
		},
		{
			name: 'Get',
			value: 'get',
			action: 'Get an approval',
			description: 'Look up one request and its outcome',
		},
		{
			name: 'Get Many',
			value: 'getAll',
			action: 'Get many approvals',
			description: 'List the requests of this client, newest first',
		},
		{
			name: 'Request Approval',
			value: 'request',
			action: 'Request an approval without waiting',
			description: 'Ask, and go on at once: use this to decide later in the workflow',
		},
		{
			name: 'Request Approval and Wait',
			// n8n builds its human-review variant for agents from this very value.
			value: 'sendAndWait',
			action: 'Request an approval and wait for it',
			description: 'Ask a person and stop here: the workflow goes on only if they approve',
		},
	],
	default: 'sendAndWait',
};

const asking: INodeProperties[] = [
	{
		displayName: 'Message',
		name: 'message',
		type: 'string',
		typeOptions: { rows: 2 },
		default: '',
		required: true,
		placeholder: 'e.g. Pay invoice 4711 of ACME',
		description:
			'One sentence that says what will happen. Reviewers see it as a quote, next to the payload. At most 500 characters.',
		displayOptions: ASKING,
	},
	{
		displayName: 'Action',
		name: 'action',
		type: 'string',
		default: '',
		placeholder: 'e.g. invoice.pay',
		hint: 'The policy of your gate picks the reviewers by this name',
		description: 'What kind of thing it is, as a dotted name',
		displayOptions: ASKING,
	},
	{
		displayName: 'Payload',
		name: 'payloadMode',
		type: 'options',
		options: [
			{
				name: 'Fields Below',
				value: 'fields',
				description: 'Pick what the reviewers see, field by field',
			},
			{
				name: 'JSON',
				value: 'json',
				description: 'A JSON object, or an expression that makes one',
			},
			{
				name: 'Whole Item',
				value: 'wholeItem',
				description:
					'All fields of the incoming item, but no keys or passwords, of a webhook only the body, and nothing that an earlier Placet step has added',
			},
		],
		default: 'wholeItem',
		description:
			'What will be done, exactly. Every reviewer of the rule sees it, in messages and on the page, and the approval is bound to it: it is good for nothing else.',
		displayOptions: MAPPING,
	},
	{
		displayName: 'Fields',
		name: 'payloadFields',
		type: 'fixedCollection',
		typeOptions: { multipleValues: true },
		placeholder: 'Add Field',
		default: {},
		description: 'What the reviewers see, and nothing else. At least one field.',
		displayOptions: { ...MAPPING, show: { ...ASKING.show, payloadMode: ['fields'] } },
		options: [
			{
				displayName: 'Field',
				name: 'field',
				values: [
					{
						displayName: 'Name',
						name: 'name',
						type: 'string',
						default: '',
						placeholder: 'e.g. amount',
					},
					{
						displayName: 'Value',
						name: 'value',
						type: 'string',
						default: '',
						placeholder: 'e.g. {{ $json.amount }}',
						description: 'As an expression it keeps its type: a number stays a number',
					},
				],
			},
		],
	},
	{
		displayName: 'Payload JSON',
		name: 'payloadJson',
		type: 'json',
		default: '{}',
		placeholder: 'e.g. { "to": "acme@example.com", "amount": 5000 }',
		displayOptions: { ...MAPPING, show: { ...ASKING.show, payloadMode: ['json'] } },
	},
	{
		displayName: 'If Not Approved',
		name: 'ifNotApproved',
		type: 'options',
		noDataExpression: true,
		options: [
			{
				name: 'Go On With the Outcome',
				value: 'handOn',
				description:
					'The item goes on, with the outcome in its field "approved". Put an IF node on that field next.',
			},
			{
				name: 'Stop the Workflow',
				value: 'stop',
				description:
					'Rejected, expired and cancelled are errors. Switch on the error output (Settings > On Error) to handle them.',
			},
		],
		default: 'stop',
		description: 'What happens to an item that nobody approved',
		displayOptions: WAITING,
	},
];

const options: INodeProperties = {
	displayName: 'Options',
	name: 'options',
	type: 'collection',
	placeholder: 'Add Option',
	default: { timeLimit: 0 },
	displayOptions: {
		show: { resource: APPROVAL, operation: ['get', 'getAll', 'request', 'sendAndWait'] },
	},
	options: [
		{
			displayName: 'Callback URL',
			name: 'callbackUrl',
			type: 'string',
			default: '',
			placeholder: 'https://n8n.example.com/webhook/decided',
			description:
				'Where the gate posts the outcome. Check its signature, or use the Placet Trigger.',
			displayOptions: { show: { '/operation': ['request'] } },
		},
		{
			displayName: 'Leave the Token for Redeem',
			name: 'keepToken',
			type: 'boolean',
			default: false,
			description:
				'Whether a later Redeem step uses the approval. Otherwise this step does, so that no other run can go on with the same approval.',
			displayOptions: {
				show: { '/operation': ['sendAndWait'] },
				hide: { '/responseType': ['approval'] },
			},
		},
		{
			displayName: 'Metadata',
			name: 'metadata',
			type: 'fixedCollection',
			typeOptions: { multipleValues: true },
			placeholder: 'Add Entry',
			default: {},
			description:
				'Labels of your own, as texts. They come back on every approval, and the policy can read them. "n8n_mode" is there already: "test" for a run that was started by hand in the editor, otherwise "production".',
			displayOptions: { show: { '/operation': ['request', 'sendAndWait'] } },
			options: [
				{
					displayName: 'Entry',
					name: 'entry',
					values: [
						{ displayName: 'Name', name: 'name', type: 'string', default: '' },
						{ displayName: 'Value', name: 'value', type: 'string', default: '' },
					],
				},
			],
		},
		{
			displayName: 'Request ID',
			name: 'requestId',
			type: 'string',
			default: '',
			placeholder: 'e.g. invoice-{{ $json.number }}',
			description:
				'A name of your own, if the same thing must never be asked twice, not even by another run: who asks the same again waits for the same decision, and only one run can use it. Without it each run asks once per item, however often it is retried. Letters, digits and . _ : - only.',
			displayOptions: { show: { '/operation': ['request', 'sendAndWait'] } },
		},
		{
			displayName: 'Simplify',
			name: 'simplify',
			type: 'boolean',
			default: false,
			description: 'Whether to return a simplified version of the response instead of the raw data',
		},
		{
			displayName: 'Time Limit (Minutes)',
			name: 'timeLimit',
			type: 'number',
			typeOptions: { minValue: 0, numberPrecision: 2 },
			default: 60,
			description:
				'When the request expires, if that is sooner than the policy says. Expired means not approved. 0: as the policy says.',
			displayOptions: { show: { '/operation': ['request', 'sendAndWait'] } },
		},
		{
			displayName: 'Wait (Seconds)',
			name: 'waitSeconds',
			type: 'number',
			typeOptions: { minValue: 0, maxValue: 25 },
			default: 0,
			description: 'How long the gate may hold its answer back if the outcome could come meanwhile',
			displayOptions: { show: { '/operation': ['get', 'request'] } },
		},
	],
};

const looking: INodeProperties[] = [
	{
		displayName: 'Request ID',
		name: 'requestId',
		type: 'string',
		default: '',
		required: true,
		placeholder: 'e.g. {{ $json.request_id }}',
		description: 'As it was given, or as Request Approval put it out',
		displayOptions: { show: { resource: APPROVAL, operation: ['cancel', 'get'] } },
	},
	{
		displayName: 'Return All',
		name: 'returnAll',
		type: 'boolean',
		default: false,
		description: 'Whether to return all results or only up to a given limit',
		displayOptions: { show: { resource: APPROVAL, operation: ['getAll'] } },
	},
	{
		displayName: 'Limit',
		name: 'limit',
		type: 'number',
		typeOptions: { minValue: 1 },
		default: 50,
		description: 'Max number of results to return',
		displayOptions: { show: { resource: APPROVAL, operation: ['getAll'], returnAll: [false] } },
	},
	{
		displayName: 'Filters',
		name: 'filters',
		type: 'collection',
		placeholder: 'Add Filter',
		default: {},
		displayOptions: { show: { resource: APPROVAL, operation: ['getAll'] } },
		options: [
			{
				displayName: 'Status',
				name: 'status',
				type: 'options',
				options: [
					{ name: 'Approved', value: 'approved' },
					{ name: 'Cancelled', value: 'cancelled' },
					{ name: 'Expired', value: 'expired' },
					{ name: 'Pending', value: 'pending' },
					{ name: 'Rejected', value: 'rejected' },
				],
				default: 'pending',
			},
		],
	},
];

export const approvalProperties: INodeProperties[] = [
	operation,
	responseType,
	...asking,
	...looking,
	options,
];
