// An object store that checks signatures (AWS Signature Version 4), bodies and trailing checksums.
const crypto = require('crypto');
const objects = new Map();
const sha256 = (data) => crypto.createHash('sha256').update(data).digest('hex');
const hmac = (key, data) => crypto.createHmac('sha256', key).update(data).digest();

module.exports = (request, body, reply) => {
  const path = request.url.split('?')[0];
  const wrong = signatureError(request) || undefined;
  const content = wrong ? body : unwrapped(request, body);
  const problem = wrong || (content === undefined ? 'the body is not what its hash or checksum says' : undefined);
  if (problem) {
    const text = `<?xml version="1.0"?><Error><Code>SignatureDoesNotMatch</Code><Message>${problem}</Message></Error>`;
    return reply.writeHead(403, { 'content-type': 'application/xml' }).end(text);
  }
  if (request.method === 'PUT') {
    objects.set(path, content);
    return reply.writeHead(200, { etag: `"${crypto.createHash('md5').update(content).digest('hex')}"` }).end();
  }
  const found = objects.get(path);
  reply.writeHead(found ? 200 : 404).end(found);
};

// Of the header or of a presigned URL.
function signatureError(request) {
  const url = new URL(request.url, 'http://host');
  const header = /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(request.headers.authorization || '');
  const query = (name) => url.searchParams.get(`X-Amz-${name}`);
  const [credential, signed, signature, date] = header ? [...header.slice(1), request.headers['x-amz-date']]
    : [query('Credential'), query('SignedHeaders'), query('Signature'), query('Date')];
  if (!credential) return 'there is no signature';
  const [id, day, region, service, end] = credential.split('/');
  if (![process.env.AWS_ACCESS_KEY_ID, process.env.OPEN_KEY_ID].includes(id)) return `unknown key ${id}`;
  const fields = request.url.split('?')[1]?.split('&').filter((field) => !field.startsWith('X-Amz-Signature=')) || [];
  const value = (name) => (name === 'host' ? request.headers.host || request.headers[':authority'] : request.headers[name]);
  const names = signed.split(';');
  const canonical = [
    request.method, request.url.split('?')[0],
    fields.map((field) => (field.includes('=') ? field : `${field}=`)).sort().join('&'),
    ...names.map((name) => `${name}:${String(value(name)).trim().replace(/ +/g, ' ')}`), '', signed,
    header ? request.headers['x-amz-content-sha256'] : 'UNSIGNED-PAYLOAD',
  ].join('\n');
  const scope = [day, region, service, end].join('/');
  const text = ['AWS4-HMAC-SHA256', date, scope, sha256(canonical)].join('\n');
  const key = [day, region, service, end].reduce(hmac, `AWS4${process.env.AWS_SECRET_ACCESS_KEY}`);
  return hmac(key, text).toString('hex') === signature ? '' : 'the signature is not that of the real key';
}

// The object in a body; nothing if it does not match.
function unwrapped(request, body) {
  const hash = request.headers['x-amz-content-sha256'];
  if (hash === 'STREAMING-UNSIGNED-PAYLOAD-TRAILER') return unchunked(request, body);
  return !hash || hash === 'UNSIGNED-PAYLOAD' || hash === sha256(body) ? body : undefined;
}

function unchunked(request, body) {
  const parts = [];
  for (let at = 0; ;) {
    const end = body.indexOf('\r\n', at), size = parseInt(body.subarray(at, end).toString(), 16);
    if (!(size >= 0)) return undefined;
    if (size === 0) {
      const whole = Buffer.concat(parts);
      const trailer = /^x-amz-checksum-crc32: ?(\S+)\r\n/.exec(body.subarray(end + 2).toString());
      const sum = Buffer.alloc(4);
      sum.writeUInt32BE(crc32(whole));
      const fits = whole.length === Number(request.headers['x-amz-decoded-content-length']);
      return fits && trailer?.[1] === sum.toString('base64') ? whole : undefined;
    }
    parts.push(body.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}

function crc32(data) {
  let sum = ~0;
  for (const byte of data) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (0xedb88320 & -(sum & 1));
  }
  return ~sum >>> 0;
}
