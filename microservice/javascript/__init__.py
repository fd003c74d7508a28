"""Runs JavaScript microservices: an index.js that assigns mimikModule.exports.

Theory of operation
-------------------
Three kinds of processes serve a container:

    front        the kit's process (microservice.entry): HTTP, the broker, the limits of handlers
    evaluator    one small process with one thread; it has evaluated index.js once
    child        forked from the evaluator for each request, and ended after it

A fork costs about a millisecond and gives every request a fresh copy of the evaluated module, so
that no request sees what another one left. The child knows nothing but its socket to the front:
HTTP calls, storage, publishing and the log are calls over it (frames.py). The front does not trust
the child.

    front process: host.py → application.py, triggers.py → exchange.py → calls.py, storage.py …
    lean processes: lean/evaluator.py → lean/run.py → lean/engine.py, lean/channel.py; lean/prelude/

A later runtime (WebAssembly) has its place beside this package: it makes a Service as host.py
does, and the front serves it without a change.
"""
