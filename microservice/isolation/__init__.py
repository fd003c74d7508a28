"""Starts the processes of containers from a warm parent, and isolates them from the machine.

    gateway                     warm parent                init (pid 1)            front
    ── request, descriptors ──► fork, in a new pid
                                namespace ───────────────► cgroups, namespaces,
                                                           root of its own, fork ─► uid, limits,
    ◄── pid, pidfd ──────────                                                      Landlock, probe,
    ◄───────────────── exit status ─────────────────────── waits, reaps             developer's code

Each means is tried. One that the kernel or the gateway's rights do not allow is left out; the
probe reports the result before the developer's code runs.
"""
