"""The article's approval service, as fast as it gets: one signed `POST /approve` that answers a token and stores nothing."""

import base64
import hashlib
import hmac
import json
import os
import time
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

SECRET = os.environ["BASELINE_SECRET"].encode()


class Approve(BaseModel):
    request_id: str = Field(min_length=1, max_length=128)
    summary: str = Field(min_length=1, max_length=500)
    action: str = "unspecified"
    payload: dict[str, Any] = {}


app = FastAPI()


def signature(text: bytes) -> bytes:
    return hmac.new(SECRET, text, hashlib.sha256).digest()


@app.post("/approve")
async def approve(request: Request):
    body = await request.body()
    expected = "v1=" + signature(body).hex()
    if not hmac.compare_digest(expected, request.headers.get("x-signature", "")):
        raise HTTPException(401, "invalid signature")
    asked = Approve.model_validate_json(body)
    claims = {"sub": asked.request_id, "action": asked.action, "approved": True, "iat": int(time.time())}
    text = base64.urlsafe_b64encode(json.dumps(claims).encode())
    token = text + b"." + base64.urlsafe_b64encode(signature(text))
    return {"request_id": asked.request_id, "approved": True, "token": token.decode()}
