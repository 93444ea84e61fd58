"""The leanest loop over the Runtime API that the standard library has: what Lambda's own does, and no more."""

import http.client
import json
import os

import app

api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    event = api.getresponse()
    request_id, body = event.headers["Lambda-Runtime-Aws-Request-Id"], event.read()
    answer = json.dumps(app.handler(json.loads(body), None)).encode()
    api.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", answer)
    api.getresponse().read()
