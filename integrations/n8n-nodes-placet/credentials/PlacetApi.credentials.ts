import type {
	IAuthenticate,
	ICredentialDataDecryptedObject,
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
				'Where your Placet gate answers: the address that its messages to reviewers begin with, such as https://gate.example.com or https://example.com/placet',
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
		{
			// n8n tells a credential's test no address of its own. The test asks the gate whether it may call this one.
			displayName: 'Callback Address',
			name: 'callbackAddress',
			type: 'hidden',
			default: '={{ $execution.resumeUrl }}',
		},
	];

	authenticate: IAuthenticate = async (
		credentials: ICredentialDataDecryptedObject,
		requestOptions: IHttpRequestOptions,
	): Promise<IHttpRequestOptions> => signed(credentials, requestOptions);
}
