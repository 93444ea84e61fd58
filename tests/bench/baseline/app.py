"""The article's approval service: one signed `POST /approve` that answers with a token and stores nothing.

Signed like Placet's own API, so that one load client measures both; async, because FastAPI's threads would slow it down.
"""

import base64
import hashlib
import hmac
import json
import os
import time
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, Field

SECRET = os.environ["BASELINE_SECRET"].encode()

app = FastAPI()


class Approve(BaseModel):
    request_id: str = Field(min_length=1, max_length=128)
    summary: str = Field(min_length=1, max_length=500)
    action: str = "unspecified"
    payload: dict[str, Any] = {}
    metadata: dict[str, str] = {}


class Approved(BaseModel):
    request_id: str
    approved: bool
    token: str


def mac(text: bytes) -> bytes:
    return hmac.new(SECRET, text, hashlib.sha256).digest()


async def verified(
    request: Request, x_placet_timestamp: Annotated[int, Header()], x_signature: Annotated[str, Header()]
) -> None:
    digest = hashlib.sha256(await request.body()).hexdigest()
    text = f"placet-v1\n{x_placet_timestamp}\n{request.method}\n{request.url.path}\n{digest}"
    if not hmac.compare_digest("v1=" + mac(text.encode()).hex(), x_signature):
        raise HTTPException(401, "invalid signature")
    if abs(time.time() - x_placet_timestamp) > 300:
        raise HTTPException(401, "clock skew")


def token(asked: Approve) -> str:
    claims = {"sub": asked.request_id, "action": asked.action, "approved": True, "iat": int(time.time())}
    text = base64.urlsafe_b64encode(json.dumps(claims).encode())
    return (text + b"." + base64.urlsafe_b64encode(mac(text))).decode()


@app.post("/approve", dependencies=[Depends(verified)])
async def approve(asked: Approve) -> Approved:
    return Approved(request_id=asked.request_id, approved=True, token=token(asked))
