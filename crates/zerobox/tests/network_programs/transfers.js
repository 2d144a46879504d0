// Bodies that are long, or slow.
const crypto = require('crypto');

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

// Of the body, when all of it is there.
function sendHash(request, reply) {
  const sum = crypto.createHash('sha256');
  request.on('data', (data) => sum.update(data));
  request.on('end', () => reply.end(`${sum.digest('hex')}\n`));
}

// Four server-sent events, each of what `text` makes of its number.
function sendEvents(reply, text) {
  reply.writeHead(200, { 'content-type': 'text/event-stream' });
  let count = 0;
  const timer = setInterval(() => {
    reply.write(`data: ${text(++count)}\n\n`);
    if (count === 4) reply.end(clearInterval(timer));
  }, 300);
}

module.exports = { sendBytes, sendHash, sendEvents };
