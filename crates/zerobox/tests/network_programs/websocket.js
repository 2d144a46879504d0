const crypto = require('crypto');

// A WebSocket that sends back every short message, as RFC 6455 has it.
module.exports = (request, socket) => {
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
};
