// A web server under test names: HTTP, HTTPS with HTTP/2 and HTTP/1.1, and HTTP/2 in clear (h2c), with the same pages.
//   node web_server.js DIRECTORY [ADDRESS]
// The directory has cert.pem, key.pem and repositories in `git`. The ports go to the files http.port, https.port and h2c.port there.
const crypto = require('crypto'), fs = require('fs'), http = require('http'), http2 = require('http2');
const { spawn } = require('child_process');
const [directory, address = '127.0.0.1'] = process.argv.slice(2);

function page(request, reply) {
  const path = request.url;
  const bytes = /^\/bytes\/(\d+)$/.exec(path);
  if (bytes) return sendBytes(reply, Number(bytes[1]));
  if (path === '/sha256') return hash(request, reply);
  if (path === '/events') return sendEvents(reply);
  if (path.startsWith('/redirect?')) return reply.writeHead(302, { location: path.slice('/redirect?'.length) }).end();
  if (path.startsWith('/git/')) return git(request, reply);
  const host = request.headers[':authority'] || request.headers.host;
  reply.end(`hello from ${host.replace(/:\d+$/, '')} over HTTP/${request.httpVersion}\n`);
}

// The same bytes on every run, of which no two blocks are alike.
function sendBytes(reply, left) {
  const cipher = crypto.createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16));
  const block = Buffer.alloc(65536);
  const more = () => {
    for (;;) {
      if (left === 0) return reply.end();
      const size = Math.min(left, block.length);
      left -= size;
      if (!reply.write(cipher.update(block.subarray(0, size)))) return reply.once('drain', more);
    }
  };
  more();
}

function hash(request, reply) {
  const sum = crypto.createHash('sha256');
  request.on('data', (data) => sum.update(data));
  request.on('end', () => reply.end(`${sum.digest('hex')}\n`));
}

function sendEvents(reply) {
  reply.writeHead(200, { 'content-type': 'text/event-stream' });
  let count = 0;
  const timer = setInterval(() => {
    reply.write(`data: ${++count}\n\n`);
    if (count === 4) reply.end(clearInterval(timer));
  }, 300);
}

// CGI, as far as `git http-backend` needs it.
function git(request, reply) {
  const url = new URL(request.url, 'http://host');
  const backend = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env.PATH, GIT_PROJECT_ROOT: `${directory}/git`, GIT_HTTP_EXPORT_ALL: '1', HOME: '/nonexistent',
      GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'safe.directory', GIT_CONFIG_VALUE_0: '*',
      PATH_INFO: url.pathname.slice('/git'.length), QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method, CONTENT_TYPE: request.headers['content-type'] || '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] || '',
      GIT_PROTOCOL: request.headers['git-protocol'] || '',
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  request.pipe(backend.stdin);
  const output = [];
  backend.stdout.on('data', (data) => output.push(data));
  backend.on('close', () => {
    const all = Buffer.concat(output), end = all.indexOf('\r\n\r\n');
    let status = 200;
    for (const line of all.subarray(0, end).toString().split('\r\n')) {
      const [name, value] = line.split(': ');
      if (name === 'Status') status = parseInt(value, 10);
      else reply.setHeader(name, value);
    }
    reply.writeHead(status).end(all.subarray(end + 4));
  });
}

// A WebSocket that sends back every short message, as RFC 6455 has it.
function upgrade(request, socket) {
  const accept = crypto.createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let buffer = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (data) => {
    buffer = Buffer.concat([buffer, data]);
    while (buffer.length >= 6 && buffer.length >= 6 + (buffer[1] & 127)) {
      const size = buffer[1] & 127, mask = buffer.subarray(2, 6);
      const text = Buffer.from(buffer.subarray(6, 6 + size).map((byte, at) => byte ^ mask[at % 4]));
      socket.write(Buffer.concat([Buffer.from([buffer[0], size]), text]));
      if ((buffer[0] & 15) === 8) return socket.end();
      buffer = buffer.subarray(6 + size);
    }
  });
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
