// Services with an interface of their own, as far as their clients need it. Each refuses whoever has not the real key.
const { API_KEY, NPM_TOKEN } = process.env;

const services = { '/v1/chat/completions': complete, '/npm/-/whoami': whoami };

function find(path, request) {
  if (request.headers['content-type']?.startsWith('application/grpc')) return call;
  return services[path] || (path.startsWith('/npm/') ? registry : undefined);
}

function bearer(request, token, reply) {
  if (request.headers.authorization === `Bearer ${token}`) return true;
  send(reply, 401, { error: { message: `not the key: ${request.headers.authorization}`, type: 'invalid_request_error' } });
  return false;
}

function send(reply, status, content) {
  reply.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(content));
}

// A model that repeats what it was asked, at once or word by word.
function complete(request, body, reply) {
  if (!bearer(request, API_KEY, reply)) return;
  const { messages, stream, model } = JSON.parse(body);
  const text = messages.at(-1).content, base = { id: 'one', created: 1, model };
  if (!stream) {
    const choice = { index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' };
    return send(reply, 200, { ...base, object: 'chat.completion', choices: [choice] });
  }
  reply.writeHead(200, { 'content-type': 'text/event-stream' });
  const words = text.split(' ');
  const timer = setInterval(() => {
    const word = words.shift();
    const choice = { index: 0, delta: word ? { content: `${word} ` } : {}, finish_reason: word ? null : 'stop' };
    reply.write(`data: ${JSON.stringify({ ...base, object: 'chat.completion.chunk', choices: [choice] })}\n\n`);
    if (word) return;
    clearInterval(timer);
    reply.end('data: [DONE]\n\n');
  }, 300);
}

function whoami(request, _, reply) {
  if (bearer(request, NPM_TOKEN, reply)) send(reply, 200, { username: 'tester' });
}

const published = new Map();

function registry(request, body, reply) {
  if (!bearer(request, NPM_TOKEN, reply)) return;
  const name = decodeURIComponent(request.url.slice('/npm/'.length)).split('?')[0];
  if (request.method === 'PUT') {
    published.set(name, JSON.parse(body));
    return send(reply, 201, { ok: true });
  }
  const found = published.get(name);
  send(reply, found ? 200 : 404, found || { error: 'not found' });
}

// A unary or streaming call that gives back every message; its metadata and trailers are repeated.
function call(request, body, reply) {
  const key = request.headers['x-api-key'] || '';
  reply.writeHead(200, { 'content-type': 'application/grpc', 'x-repeated': key });
  reply.addTrailers({ 'grpc-status': key === API_KEY ? '0' : '16', 'grpc-message': `key ${key}` });
  reply.end(key === API_KEY ? body : undefined);
}

module.exports = { find };
