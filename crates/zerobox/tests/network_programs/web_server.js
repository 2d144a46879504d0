// A web server under test names: HTTP, HTTPS with HTTP/2 and HTTP/1.1, and HTTP/2 in clear (h2c), with the same pages.
//   node web_server.js DIRECTORY [ADDRESS]
// The directory has cert.pem, key.pem and repositories in `git`. The ports go to the files http.port, https.port and h2c.port there.
const fs = require('fs'), http = require('http'), http2 = require('http2');
const git = require('./git_backend.js'), upgrade = require('./websocket.js');
const { sendBytes, sendHash, sendEvents } = require('./transfers.js');
const [directory, address = '127.0.0.1'] = process.argv.slice(2);

function page(request, reply) {
  const path = request.url;
  const bytes = /^\/bytes\/(\d+)$/.exec(path);
  if (bytes) return sendBytes(reply, Number(bytes[1]));
  if (path === '/sha256') return sendHash(request, reply);
  if (path === '/events') return sendEvents(reply, (number) => number);
  if (path.startsWith('/redirect?')) return reply.writeHead(302, { location: path.slice('/redirect?'.length) }).end();
  if (path.startsWith('/git/')) return git(directory, request, reply);
  const host = request.headers[':authority'] || request.headers.host;
  reply.end(`hello from ${host.replace(/:\d+$/, '')} over HTTP/${request.httpVersion}\n`);
}

const tls = { cert: fs.readFileSync(`${directory}/cert.pem`), key: fs.readFileSync(`${directory}/key.pem`) };
const servers = {
  http: http.createServer(page), https: http2.createSecureServer({ ...tls, allowHTTP1: true }, page), h2c: http2.createServer(page),
};
for (const [name, server] of Object.entries(servers)) {
  server.on('upgrade', upgrade);
  server.on('error', (error) => { console.error(error); process.exit(1); });
  server.listen(0, address, () => {
    fs.writeFileSync(`${directory}/${name}.new`, String(server.address().port));
    fs.renameSync(`${directory}/${name}.new`, `${directory}/${name}.port`);
  });
}
