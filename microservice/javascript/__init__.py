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

    front process: host.py → pool.py → exchange.py → calls.py, storage.py, forms.py, events.py
    lean processes: evaluator.py → child.py → engine.py, channel.py; prelude/*.js

The modules of the lean processes import nothing but the standard library and QuickJS: what they
import is paid for by every fork.

A later runtime (WebAssembly) has its place beside this package: it makes a Service as host.py
does, and the front serves it without a change.
"""
