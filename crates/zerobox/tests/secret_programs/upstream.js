// The servers that secrets are for: HTTPS with HTTP/2 and HTTP/1.1, and HTTP in clear, with the same pages.
//   node upstream.js DIRECTORY
// The directory has cert.pem, key.pem and repositories in `git`. The ports go to the files https.port and http.port there.
// What a server received is a line of JSON in `received` before it answers; most answers repeat it.
const fs = require('fs'), http = require('http'), http2 = require('http2'), zlib = require('zlib');
const git = require('./git_backend.js'), upgrade = require('./websocket.js'), s3 = require('./s3.js');
const services = require('./services.js');
const { sendBytes, sendHash, sendEvents } = require('./transfers.js');
const [directory] = process.argv.slice(2);

function page(request, reply) {
  const path = request.url.split('?')[0];
  const bytes = /^\/bytes\/(\d+)$/.exec(path);
  if (bytes) return record(request), sendBytes(reply, Number(bytes[1]));
  if (path === '/sha256') return record(request), sendHash(request, reply);
  if (path === '/events') return streamEvents(request, reply);
  if (path === '/redirect') return record(request), reply.writeHead(302, { location: request.url.split('?')[1] }).end();
  if (path.startsWith('/new/')) return copyRepository(path.slice('/new/'.length), reply);
  if (path.startsWith('/git/')) return record(request), authorised(request, reply) && git(directory, request, reply);
  whole(request).then((body) => {
    const seen = record(request, body);
    const service = services.find(path, request);
    if (service) return service(request, body, reply);
    if (request.headers.host?.startsWith('s3.test') || request.headers[':authority']?.startsWith('s3.test')) {
      return s3(request, body, reply);
    }
    sendEcho(request, seen, reply);
  });
}

// What a service does that prints what it was asked, in each of the codings.
function sendEcho(request, seen, reply) {
  const text = `hello from ${seen.host} over HTTP/${seen.version}\n${JSON.stringify(seen)}\n`;
  const coding = new URL(request.url, 'http://host').searchParams.get('coding');
  const coders = { gzip: zlib.gzipSync, br: zlib.brotliCompressSync, deflate: zlib.deflateSync };
  if (coding) reply.setHeader('content-encoding', coding);
  reply.setHeader('x-repeated', seen.headers.authorization || 'none');
  reply.end(coding ? coders[coding](text) : text);
}

function streamEvents(request, reply) {
  const seen = record(request);
  sendEvents(reply, (number) => `${number} for ${seen.headers.authorization}`);
}

// For the test itself, which may be another account.
function copyRepository(name, reply) {
  fs.cpSync(`${directory}/git/sample.git`, `${directory}/git/${name.replace(/[^\w.-]/g, '')}`, { recursive: true });
  reply.end();
}

// As a forge does: the password is a token.
function authorised(request, reply) {
  if (basic(request) === `tester:${process.env.GH_TOKEN}`) return true;
  request.resume();
  reply.writeHead(401, { 'www-authenticate': 'Basic realm="forge"' }).end('who are you?\n');
  return false;
}

function record(request, body) {
  const { ':authority': authority, host = authority } = request.headers;
  const seen = {
    host: host.replace(/:\d+$/, ''), version: request.httpVersion, method: request.method, path: request.url,
    headers: request.headers, basic: basic(request), body: body?.toString(),
  };
  fs.appendFileSync(`${directory}/received`, `${JSON.stringify(seen)}\n`);
  return seen;
}

function basic(request) {
  const [, encoded] = /^Basic (.*)$/.exec(request.headers.authorization || '') || [];
  return encoded && Buffer.from(encoded, 'base64').toString();
}

function whole(request) {
  return new Promise((done) => {
    const parts = [];
    request.on('data', (data) => parts.push(data));
    request.on('end', () => done(Buffer.concat(parts)));
    request.on('error', () => {});
  });
}

const tls = { cert: fs.readFileSync(`${directory}/cert.pem`), key: fs.readFileSync(`${directory}/key.pem`) };
const servers = { https: http2.createSecureServer({ ...tls, allowHTTP1: true }, page), http: http.createServer(page) };
for (const [name, server] of Object.entries(servers)) {
  server.on('upgrade', (request, socket) => { record(request); upgrade(request, socket); });
  server.on('error', (error) => { console.error(error); process.exit(1); });
  server.listen(0, '127.0.0.1', () => {
    fs.writeFileSync(`${directory}/${name}.new`, String(server.address().port));
    fs.renameSync(`${directory}/${name}.new`, `${directory}/${name}.port`);
  });
}
