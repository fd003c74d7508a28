// A bundle as packers for older runtimes write it: ES5, one function per module, a router with a
// final handler that answers later, and middleware that puts its own members everywhere.
!function (modules) {
  var cache = {};
  function load(i) {
    if (cache[i]) return cache[i].exports;
    var module = cache[i] = { i: i, l: false, exports: {} };
    modules[i].call(module.exports, module, module.exports, load);
    module.l = true;
    return module.exports;
  }
  load.g = (function () {
    if (typeof globalThis === 'object') return globalThis;
    try { return this || new Function('return this')(); } catch (e) { if (typeof window === 'object') return window; }
  })();
  load(0);
}([
  function (module, exports, load) { // the entry
    'use strict';
    var router = load(1)(), reply = load(3);
    load.g.context = null;
    router.use(load(4));
    router.get('/hello', function (req, res) { reply(res, { JSONMessage: 'hello' }); });
    router.get('/error', function () { throw new Error('no such luck'); });
    router.get('/peers', function (req, res) {
      req.context.http.request({
        url: 'http://localhost:' + req.context.info.httpPort + '/mds/v1/nodes?clusters=linkLocal',
        authorization: req.authorization,
        success: function (result) {
          req.context.edge.decryptEncryptedNodesJson({
            type: 'local', data: JSON.stringify(JSON.parse(result.data).data), token: 'x',
            success: function (opened) {
              var nodes = JSON.parse(opened.data).localLinkNetwork.nodes;
              reply(res, nodes.map(function (node) { return node.id; }));
            },
            error: function (error) { reply(res, error, 500); },
          });
        },
        error: function (error) { reply(res, error, error.status || 502); },
      });
    });
    router.post('/items', function (req, res) {
      var item = JSON.parse(req.body);
      req.context.storage.setItemWithTag(item.id, Duktape.enc('base64', item.text), 'item');
      reply(res, item, 201);
    });
    router.get('/items', function (req, res) {
      var items = [];
      req.context.storage.eachItemByTag('item', function (key, value) {
        items.push({ id: key, text: String(Duktape.dec('base64', value)) });
      });
      reply(res, { data: items });
    });
    load.g.mimikModule.exports = function (context, req, res) {
      load.g.context = context;
      context.edge = Object.assign(context.edge, { clusterDiscovery: function () { return []; } });
      router(req, Object.assign(res, { writeError: function (e) { reply(res, e, e.code); } }), load(2)(req, res), context);
    };
  },
  function (module) { // a router
    module.exports = function () {
      var layers = [];
      function router(req, res, done, context) {
        var at = 0, path = req.url.split('?')[0];
        req.originalUrl = req.originalUrl || req.url;
        req.baseUrl = ''; req._parsedUrl = { pathname: path }; req.params = {}; req.context = context;
        (function next(error) {
          var layer = layers[at++];
          if (error || !layer) return defer(done, error);
          req.next = next;
          if (layer.method && (layer.method !== req.method || layer.path !== path)) return next();
          req.route = layer;
          try { layer.action(req, res, next); } catch (caught) { next(caught); }
        })();
      }
      router.use = function (action) { layers.push({ action: action }); };
      ['get', 'post', 'put', 'delete'].forEach(function (method) {
        router[method] = function (path, action) { layers.push({ method: method.toUpperCase(), path: path, action: action }); };
      });
      return router;
    };
    var defer = typeof setImmediate === 'function' ? setImmediate : function (f, a) { setTimeout(f.bind(null, a), 0); };
  },
  function (module) { // the final handler
    module.exports = function (req, res) {
      return function (error) {
        setTimeout(function () {
          res.statusCode = error ? 500 : 404;
          res.setHeader('Content-Type', 'text/plain');
          res.end(error ? error.message : 'Cannot ' + req.method + ' ' + req.url);
        }, 0);
      };
    };
  },
  function (module) { // answers
    module.exports = function (res, value, code) {
      res.statusCode = code || 200;
      res.end(JSON.stringify(Array.isArray(value) ? { data: value } : value, null, 2));
    };
  },
  function (module) { // middleware of a generated API
    module.exports = function (req, res, next) {
      req.swagger = { operation: req.method + ' ' + req.url };
      req.mimikContext = req.context;
      req.context.security = { apiKey: req.headers.apikey };
      next();
    };
  },
]);
