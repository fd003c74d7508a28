"""Runs JavaScript in this process by QuickJS.

The wrapper of PyPI lacks a wall-clock limit, file names and rejections; ctypes adds them from the
same shared library. Traps of the wrapper:

- Its own time limit forbids host functions and counts processor time: it is not used.
- It wraps integers at 32 bits and ends texts at NUL: only JSON text without NUL passes.
- It does not know ropes, which the engine makes of long texts that are joined by +.
- It gives up the interpreter lock while JavaScript runs. A function called by ctypes does not tell
  it so: no host function may run inside JS_Eval.
"""

import contextlib
import ctypes
from collections.abc import Callable
from typing import Any

import _quickjs

JSError = _quickjs.JSException  # StackOverflow is raised for deep recursion
ERRORS = (_quickjs.JSException, _quickjs.StackOverflow)
STACK_BYTES = 1024 * 1024  # a main thread has 8 MiB; 0 or more than it has ends in SIGSEGV
ENTRY_FILE = "index.js"
VAIN_LIMIT = 20
_PLACE = "\n    at "  # begins a line of a stack
REJECTIONS = 64  # kept until they are reported
_HEAD_WORDS = 2  # of a Python object, before the wrapper's own data
_PROPERTY = 0b111  # configurable, writable, enumerable


class _Struct(ctypes.Structure):
    _fields_ = (("value", ctypes.c_uint64), ("tag", ctypes.c_int64))


# quickjs.h: a value is one 64-bit number where pointers have 32 bits
_Value = _Struct if ctypes.sizeof(ctypes.c_void_p) == 8 else ctypes.c_uint64
JSValue = Any  # a _Value

_Interrupt = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_Rejection = ctypes.CFUNCTYPE(None, ctypes.c_void_p, _Value, _Value, ctypes.c_bool, ctypes.c_void_p)


class Engine:
    """One JavaScript context.

    is_over() is asked about every 100 µs of JavaScript; once it returns true, no script goes on.
    """

    def __init__(self, memory_bytes: int, is_over: Callable[[], bool]) -> None:
        self.interrupted_at: str | None = None  # the stack at the time limit
        self.vain = 0  # interruptions outside of the script, which were no use
        self._is_over = is_over
        self._context = _quickjs.Context()
        self._context.set_max_stack_size(STACK_BYTES)
        self._context.set_memory_limit(memory_bytes)
        self._api = _load_api()
        self._runtime, self._js = _pointers(self._context, self._api)
        self._api.JS_SetCanBlock(self._runtime, False)
        self._callbacks = (_Interrupt(self._interrupt), _Rejection(self._rejected))  # kept alive
        self._api.JS_SetInterruptHandler(self._runtime, self._callbacks[0], None)
        self._error_class = self._global("Error")
        self._rejections: dict[int, int] = {}  # promise: its place in the array
        self._rejected_count = 0
        self._array: JSValue | None = None

    def add_host(self, name: str, function: Callable[[str, str], object]) -> None:
        """Make a global function that takes two texts; it must not raise."""
        self._context.add_callable(name, function)

    def evaluate(self, source: str, name: str) -> None:
        """Run a script under a file name; no host function may be called by it.

        Raises:
            JSError: it raises, or is not JavaScript.
        """
        code = source.encode("utf-8", "replace")
        self._api.JS_UpdateStackTop(self._runtime)
        value = self._api.JS_Eval(self._js, code, len(code), name.encode(), 0)
        if self._api.JS_HasException(self._js):
            raise JSError(self._take_exception())
        self._api.JS_FreeValue(self._js, value)

    def take_function(self, name: str) -> Callable[..., object]:
        """Return a global function, which is not global afterwards."""
        function: Callable[..., object] = self._context.get(name)
        self._context.eval(f"delete globalThis.{name}")
        return function

    def collect_rejections(self, name: str) -> None:
        """Put the reasons of rejections without a handler into a global array from now on."""
        self._array = self._global(name)
        self._context.eval(f"delete globalThis.{name}")
        self._api.JS_SetHostPromiseRejectionTracker(self._runtime, self._callbacks[1], None)

    def run_job(self) -> bool:
        """Run one job of a promise; return whether there was one."""
        return bool(self._context.execute_pending_job())

    def collect_garbage(self) -> None:
        """Free what is not used."""
        self._context.gc()

    @property
    def has_rejections(self) -> bool:
        """Tell whether there may be rejections without a handler."""
        return self._rejected_count > 0

    def forget_rejections(self) -> None:
        """Start the array of rejections anew; the caller has emptied it."""
        self._rejections.clear()
        self._rejected_count = 0

    # Called by QuickJS ----------------------------------------------------------------------------

    def _interrupt(self, _runtime: int, _opaque: int) -> int:
        if self.interrupted_at is not None:
            return 1
        if not self._is_over():
            return 0
        self.interrupted_at = ""  # the next line may run a script's Error.prepareStackTrace
        stack = self._stack()
        if ENTRY_FILE not in stack and self.vain < VAIN_LIMIT:
            self.vain += 1  # between two jobs of a promise: the next one is the script's
            self.interrupted_at = None
            return 0
        self.interrupted_at = stack
        return 1

    def _rejected(
        self, _js: int, promise: JSValue, reason: JSValue, is_handled: bool, _opaque: int
    ) -> None:
        if self._array is None:
            return
        key = promise.value if isinstance(promise, _Struct) else int(promise)
        if is_handled:
            at = self._rejections.pop(key, -1)
            if at >= 0:
                self._put(2 * at + 1, promise)  # its own promise as a reason: handled after all
        elif self._rejected_count < REJECTIONS:
            at, self._rejected_count = self._rejected_count, self._rejected_count + 1
            self._rejections[key] = at
            self._put(2 * at, promise)
            self._put(2 * at + 1, reason)

    def _put(self, at: int, value: JSValue) -> None:
        kept = self._api.JS_DupValue(self._js, value)
        self._api.JS_DefinePropertyValueUint32(self._js, self._array, at, kept, _PROPERTY)

    def _stack(self) -> str:
        # a thrown error would get its stack later; the constructor adds it at once
        error = self._api.JS_CallConstructor(self._js, self._error_class, 0, None)
        try:
            return self._property(error, b"stack")
        finally:
            self._api.JS_FreeValue(self._js, error)

    def _take_exception(self) -> str:
        error = self._api.JS_GetException(self._js)
        try:
            return f"{self._text(error)}\n{self._property(error, b'stack')}"
        finally:
            self._api.JS_FreeValue(self._js, error)

    def _global(self, name: str) -> JSValue:
        root = self._api.JS_GetGlobalObject(self._js)
        found: JSValue = self._api.JS_GetPropertyStr(self._js, root, name.encode())
        self._api.JS_FreeValue(self._js, root)
        return found

    def _property(self, value: JSValue, name: bytes) -> str:
        found = self._api.JS_GetPropertyStr(self._js, value, name)
        try:
            return self._text(found)
        finally:
            self._api.JS_FreeValue(self._js, found)

    def _text(self, value: JSValue) -> str:
        pointer = self._api.JS_ToCStringLen2(self._js, None, value, False)
        if not pointer:
            self._api.JS_FreeValue(self._js, self._api.JS_GetException(self._js))
            return ""
        try:
            return ctypes.string_at(pointer).decode("utf-8", "replace")
        finally:
            self._api.JS_FreeCString(self._js, pointer)


def explain(error: Exception) -> str:
    """Return an error's message, then the lines of its stack.

    The wrapper and _take_exception() join message and stack; the stack begins with the message as
    well (prelude/errors.js), or is null: there is no room to make it when calls are too deep.
    """
    head, at, places = str(error).partition(_PLACE)
    head = head.removesuffix("\nnull").removesuffix("\n")
    half = len(head) // 2
    if head[:half] == head[half + 1 :] and head[half : half + 1] == "\n":
        head = head[:half]
    return f"{head}{at}{places}"


def _load_api() -> ctypes.PyDLL:
    """Return the library, with the types of the functions that are used here."""
    api = ctypes.PyDLL(_quickjs.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("JS_GetRuntime", pointer, [pointer]),
        ("JS_SetCanBlock", None, [pointer, ctypes.c_bool]),
        ("JS_SetInterruptHandler", None, [pointer, _Interrupt, pointer]),
        ("JS_SetHostPromiseRejectionTracker", None, [pointer, _Rejection, pointer]),
        ("JS_UpdateStackTop", None, [pointer]),
        ("JS_Eval", _Value, [pointer, text, ctypes.c_size_t, text, number]),
        ("JS_HasException", ctypes.c_bool, [pointer]),
        ("JS_GetException", _Value, [pointer]),
        ("JS_CallConstructor", _Value, [pointer, _Value, number, pointer]),
        ("JS_GetGlobalObject", _Value, [pointer]),
        ("JS_GetPropertyStr", _Value, [pointer, _Value, text]),
        ("JS_DupValue", _Value, [pointer, _Value]),
        ("JS_FreeValue", None, [pointer, _Value]),
        ("JS_ToCStringLen2", pointer, [pointer, pointer, _Value, ctypes.c_bool]),
        ("JS_FreeCString", None, [pointer, pointer]),
        (
            "JS_DefinePropertyValueUint32",
            number,
            [pointer, _Value, ctypes.c_uint32, _Value, number],
        ),
    ):
        function = getattr(api, name)
        function.restype, function.argtypes = result, arguments
    return api


def _pointers(context: object, api: ctypes.PyDLL) -> tuple[int, int]:
    """Return the runtime and the context inside the wrapper's object, which are not its API."""
    words = (ctypes.c_void_p * (_HEAD_WORDS + 2)).from_address(id(context))
    runtime, js = words[_HEAD_WORDS], words[_HEAD_WORDS + 1]
    found = None
    if runtime and js:
        with contextlib.suppress(OSError):
            found = api.JS_GetRuntime(js)
    if not js or not runtime or found != runtime:
        raise RuntimeError("cannot use this version of quickjs-ng: its objects look different")
    return runtime, js
