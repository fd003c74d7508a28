"""Makes a script of about 100 KB with 340 functions, of which a request calls a tenth."""

FUNCTIONS = 340
HANDLER = """
mimikModule.exports = function (context, request, response) {
  var sum = 0;
  for (var i = 0; i < modules.length; i += 10) sum += modules[i](i).length;
  response.end(JSON.stringify({ url: request.url, sum: sum }));
};
"""
FUNCTION = """modules.push(function module_%d(n) {
  'use strict';
  var names = ['alpha-%d', 'beta-%d', 'gamma-%d'], found = {};
  names.forEach(function (name, at) { found[name] = { at: at, text: name + ':' + n }; });
  if (n < 0) throw new TypeError('cannot use ' + n + ': it is negative');
  return Object.keys(found).map(function (key) { return found[key].text; }).join(',');
});
"""


def make_bundle() -> str:
    """Return the script."""
    functions = (FUNCTION % ((n,) * 4) for n in range(FUNCTIONS))
    return "var modules = [];\n" + "".join(functions) + HANDLER
