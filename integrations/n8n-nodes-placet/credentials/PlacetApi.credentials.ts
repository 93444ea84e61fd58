import type {
	IAuthenticate,
	ICredentialDataDecryptedObject,
	ICredentialTestRequest,
	ICredentialType,
	IHttpRequestOptions,
	INodeProperties,
	Icon,
} from 'n8n-workflow';

import { signed } from './signature';

export class PlacetApi implements ICredentialType {
	name = 'placetApi';

	displayName = 'Placet API';

	icon: Icon = { light: 'file:../icons/placet.svg', dark: 'file:../icons/placet.dark.svg' };

	documentationUrl = 'https://placet.example.com/n8n-nodes-placet#credentials';

	properties: INodeProperties[] = [
		{
			displayName: 'Gate URL',
			name: 'url',
			type: 'string',
			default: '',
			required: true,
			placeholder: 'https://gate.example.com',
			description:
				'Where your Placet gate answers. The same address that reviewers open, without a path.',
		},
		{
			displayName: 'Client ID',
			name: 'clientId',
			type: 'string',
			default: '',
			required: true,
			placeholder: 'n8n',
			description: 'The <code>id</code> of this n8n under <code>[[clients]]</code> in the policy',
		},
		{
			displayName: 'Client Secret',
			name: 'clientSecret',
			type: 'string',
			typeOptions: { password: true },
			default: '',
			required: true,
			placeholder: 'whsec_…',
			hint: 'The last line that <code>placet client secret n8n</code> prints',
			description:
				'Signs what n8n sends to the gate, and checks what the gate sends back. It never leaves n8n.',
		},
	];

	authenticate: IAuthenticate = async (
		credentials: ICredentialDataDecryptedObject,
		requestOptions: IHttpRequestOptions,
	): Promise<IHttpRequestOptions> => signed(credentials, requestOptions);

	test: ICredentialTestRequest = {
		request: {
			baseURL: '={{ $credentials.url }}',
			url: '/v1/requests',
			qs: { limit: 1 },
			method: 'GET',
		},
		rules: [
			{
				type: 'responseCode',
				properties: {
					value: 401,
					message:
						'The gate does not accept this client ID and secret. Paste the last line of "placet client secret", and check that the clock of this machine is right.',
				},
			},
			{
				type: 'responseCode',
				properties: {
					value: 403,
					message: 'The gate knows this client, but its policy entry lacks the role "requester"',
				},
			},
		],
	};
}
