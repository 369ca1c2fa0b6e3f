"""LM Studio's SDK protocol: what its libraries (`lmstudio` for Python, `@lmstudio/sdk` for JavaScript) speak.

One WebSocket for each namespace, one JSON object in each text frame. `socket.py` reads frames and runs what they ask
for, `endpoints.py` says what an endpoint is, `routes.py` has the table of namespaces; the rest are the endpoints.

The libraries drop a message with a missing or wrongly typed field in silence, and wait for ever. So whatever is sent is
made of the models in `wire.py` and `shapes.py`, which check themselves when they are made.
"""
