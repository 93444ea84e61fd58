import type { IDataObject } from 'n8n-workflow';

/** An approval as the gate shows it: in every answer, callback and hook. */
export interface Approval extends IDataObject {
	request_id: string;
	approval_id: string;
	client: string;
	status: 'pending' | 'approved' | 'rejected' | 'expired' | 'cancelled';
	approved: boolean;
	action: string;
	summary: string;
	payload_sha256: string;
	deadline: string | null;
	decided_at: string | null;
	decided_by: string[];
	reason: string | null;
	token: string | null;
}

/** The fields that most workflows need, of the twenty that an approval has. */
export function simplified(approval: Approval): IDataObject {
	const { request_id, approval_id, status, approved, action, summary } = approval;
	const { decided_at, decided_by, reason, token } = approval;
	return {
		request_id,
		approval_id,
		status,
		approved,
		action,
		summary,
		decided_at,
		decided_by,
		reason,
		token,
	};
}

/** What the gate says of a token. */
export interface TokenVerdict extends IDataObject {
	valid: boolean;
	problem?: string | null;
	claims?: TokenClaims | null;
}

/** What a token says. */
export interface TokenClaims extends IDataObject {
	sub: string;
	jti: string;
	status: string;
	approved: boolean;
	payload_sha256: string;
}
