"""The ask as a Python function: checks the signature, writes request and audit entry in one transaction, answers 201.

It does less than Placet's: no policy, no quota, no message to a reviewer, and its key comes from the environment.
"""

import hashlib
import hmac
import json
import os
import time
import uuid
from typing import Annotated, Any

import boto3
from botocore.exceptions import ClientError
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from mangum import Mangum
from pydantic import BaseModel, Field

SECRET = os.environ["BENCH_SECRET"].encode()
REQUESTS, AUDIT = os.environ["PLACET_REQUESTS_TABLE"], os.environ["PLACET_AUDIT_TABLE"]

dynamodb = boto3.client("dynamodb")
app = FastAPI()


class Ask(BaseModel):
    request_id: str = Field(min_length=1, max_length=128)
    summary: str = Field(min_length=1, max_length=500)
    action: str = "unspecified"
    payload: dict[str, Any] = {}
    metadata: dict[str, str] = {}


async def verified(
    request: Request,
    x_placet_client: Annotated[str, Header()],
    x_placet_timestamp: Annotated[int, Header()],
    x_signature: Annotated[str, Header()],
) -> str:
    digest = hashlib.sha256(await request.body()).hexdigest()
    text = f"placet-v1\n{x_placet_timestamp}\n{request.method}\n{request.url.path}\n{digest}"
    signature = "v1=" + hmac.new(SECRET, text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature, x_signature):
        raise HTTPException(401, "invalid signature")
    if abs(time.time() - x_placet_timestamp) > 300:
        raise HTTPException(401, "clock skew")
    return x_placet_client


@app.post("/v1/requests", status_code=201)
async def ask(asked: Ask, client: Annotated[str, Depends(verified)]) -> dict[str, Any]:
    approval_id, now = str(uuid.uuid4()), int(time.time() * 1000)
    payload = json.dumps(asked.payload, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(payload.encode()).hexdigest()
    request = {
        "pk": {"S": f"r#{client}#{asked.request_id}"},
        "sk": {"S": "r"},
        "question": {"S": asked.model_dump_json()},
        "status": {"S": "pending"},
        "client": {"S": client},
        "approval_id": {"S": approval_id},
        "due_pk": {"S": "closes#0"},
        "due_at": {"N": str(now + 600_000)},
    }
    entry = {
        "subject": {"S": approval_id},
        "seq": {"N": "1"},
        "timestamp": {"N": str(now)},
        "event": {"S": "asked"},
        "actor": {"S": f"client:{client}"},
        "payload_sha256": {"S": digest},
    }
    try:
        dynamodb.transact_write_items(
            ClientRequestToken=approval_id,
            TransactItems=[
                {"Put": {"TableName": REQUESTS, "Item": request, "ConditionExpression": "attribute_not_exists(pk)"}},
                {"Put": {"TableName": AUDIT, "Item": entry, "ConditionExpression": "attribute_not_exists(subject)"}},
            ],
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "TransactionCanceledException":
            raise HTTPException(409, "request_id_conflict") from error
        raise
    return {
        "request_id": asked.request_id,
        "approval_id": approval_id,
        "status": "pending",
        "approved": False,
        "action": asked.action,
        "summary": asked.summary,
        "payload_sha256": digest,
        "metadata": asked.metadata,
    }


handler = Mangum(app, lifespan="off")
