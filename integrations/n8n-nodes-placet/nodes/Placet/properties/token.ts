import type { INodeProperties } from 'n8n-workflow';

const TOKEN = { resource: ['token'] };

export const tokenProperties: INodeProperties[] = [
	{
		displayName: 'Operation',
		name: 'operation',
		type: 'options',
		noDataExpression: true,
		displayOptions: { show: TOKEN },
		options: [
			{
				name: 'Redeem',
				value: 'redeem',
				action: 'Redeem a token',
				description: 'Use an approval, once: do this right before you act',
			},
			{
				name: 'Verify',
				value: 'verify',
				action: 'Verify a token',
				description: 'Check an approval as often as you like, without using it up',
			},
		],
		default: 'verify',
	},
	{
		displayName: 'Token',
		name: 'token',
		type: 'string',
		typeOptions: { password: true },
		default: '',
		required: true,
		placeholder: 'e.g. {{ $json.placet.token }}',
		description: 'The signed decision that came with the approval',
		displayOptions: { show: TOKEN },
	},
	{
		displayName: 'Check the Payload',
		name: 'checkPayload',
		type: 'boolean',
		default: true,
		description:
			'Whether the token must be for exactly the payload below. Leave this on: it is what stops one approval from being used for something else.',
		displayOptions: { show: TOKEN },
	},
	{
		displayName: 'Payload',
		name: 'tokenPayload',
		type: 'json',
		default: '{}',
		required: true,
		placeholder: 'e.g. { "to": "acme@example.com", "amount": 5000 }',
		description: 'What is about to be done: the same JSON that was asked about',
		displayOptions: { show: { ...TOKEN, checkPayload: [true] } },
	},
	{
		displayName: 'Redeemed By',
		name: 'redeemedBy',
		type: 'string',
		default: '=n8n-execution-{{ $execution.id }}',
		required: true,
		description:
			'Who uses the token. The same name again is a retry and is fine; another name is refused.',
		displayOptions: { show: { ...TOKEN, operation: ['redeem'] } },
	},
];
