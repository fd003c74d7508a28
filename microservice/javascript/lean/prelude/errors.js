// Begins `stack` with the error's message, as the engines do that bundles are written for.
"use strict";
(function () {
  const describe = Error.prototype.toString;

  function head(error) {
    try {
      return describe.call(error);
    } catch {
      return "Error"; // a getter of the script has thrown
    }
  }

  function place(frame) {
    const name = frame.getFunctionName() || "<anonymous>";
    if (frame.isNative()) return `${name} (native)`;
    return `${name} (${frame.getFileName()}:${frame.getLineNumber()}:${frame.getColumnNumber()})`;
  }

  Error.prepareStackTrace = function (error, frames) {
    let text = head(error);
    for (let at = 0; at < frames.length; at++) text += `\n    at ${place(frames[at])}`;
    return text;
  };
})();
