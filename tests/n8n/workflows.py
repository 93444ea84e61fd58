"""Workflows as a builder draws them: a webhook, our node, and behind it the dangerous step."""

import uuid


def node(name, kind, parameters=None, version=1, credentials=None, **more):
    made = {
        "id": str(uuid.uuid4()), "name": name, "type": kind, "typeVersion": version, "position": [0, 0],
        "parameters": parameters or {}, **more,
    }  # fmt: skip
    if credentials:
        made["credentials"] = credentials
    return made


def webhook(path):
    """Starts a run, and answers with the number of the execution."""
    return node(
        "Webhook", "n8n-nodes-base.webhook",
        {
            "path": path, "httpMethod": "POST", "responseMode": "onReceived",
            "options": {"responseData": '={{ JSON.stringify({ execution: $execution.id }) }}'},
        },
        version=2, webhookId=str(uuid.uuid4()),
    )  # fmt: skip


def each(field="body.items"):
    """One item for each element that was posted."""
    return node("Each", "n8n-nodes-base.splitOut", {"fieldToSplitOut": field, "options": {}})


def no_op(name):
    return node(name, "n8n-nodes-base.noOp")


def placet(credentials, name="Placet", kind="placet", on_error=None, retry=None, **parameters):
    made = node(name, f"n8n-nodes-placet.{kind}", parameters, credentials=credentials)
    if on_error:
        made["onError"] = on_error
    if retry:
        made.update(retryOnFail=True, maxTries=retry, waitBetweenTries=100)
    return made


def wired(*wires):
    """Connections from tuples: (from, to), (from, to, output) or (from, to, output, kind)."""
    connections = {}
    for source, target, *rest in wires:
        output = rest[0] if rest else 0
        kind = rest[1] if len(rest) > 1 else "main"
        outputs = connections.setdefault(source, {}).setdefault(kind, [])
        while len(outputs) <= output:
            outputs.append([])
        outputs[output].append({"node": target, "type": kind, "index": 0})
    return connections


def workflow(nodes, connections, name=None, **settings):
    return {
        "name": name or f"test {uuid.uuid4().hex[:8]}",
        "nodes": nodes, "connections": connections, "settings": {"executionOrder": "v1", **settings},
    }  # fmt: skip


def gated(path, step, **settings):
    """Webhook → Each → Placet → Pay, with Refused on the error output."""
    return workflow(
        [webhook(path), each(), step, no_op("Pay"), no_op("Refused")],
        wired(("Webhook", "Each"), ("Each", "Placet"), ("Placet", "Pay"), ("Placet", "Refused", 1)),
        **settings,
    )
