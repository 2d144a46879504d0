// What programs in Node do on the network, one way each: `node client.js WAY URL`.
const fs = require('fs'), https = require('https'), http2 = require('http2');
const [way, url] = process.argv.slice(2);
const ca = fs.readFileSync('ca.pem');

const ways = {
  // undici, which takes its certificates from NODE_EXTRA_CA_CERTS alone.
  async fetch() {
    const replies = await Promise.all([fetch(url), fetch(url), fetch(url)]);
    for (const reply of replies) {
      if (!reply.ok) throw new Error(`status ${reply.status}: ${await reply.text()}`);
      console.log(await reply.text());
    }
  },
  https() {
    return new Promise((done, failed) => https.get(url, { ca }, (reply) => {
      reply.on('data', (data) => console.log(String(data)));
      reply.on('end', done);
    }).on('error', failed));
  },
  // Eight streams on one connection.
  http2() {
    return new Promise((done, failed) => {
      const session = http2.connect(new URL(url).origin, { ca }).on('error', failed);
      let left = 8;
      for (let number = 0; number < 8; number++) {
        const stream = session.request({ ':path': '/' }).on('error', failed);
        stream.on('data', (data) => console.log(String(data)));
        stream.on('end', () => { if (--left === 0) done(session.close()); });
      }
    });
  },
  websocket() {
    return new Promise((done, failed) => {
      const socket = new WebSocket(url);
      const words = ['one', 'two', 'three'];
      socket.onerror = (event) => failed(event.error || new Error('the WebSocket failed'));
      socket.onopen = () => socket.send(words[0]);
      socket.onmessage = (event) => {
        console.log(`hello from ${new URL(url).hostname}: ${event.data}`);
        words.shift();
        if (words.length) socket.send(words[0]);
        else done(socket.close());
      };
    });
  },
};

function causes(error) {
  if (!error) return '';
  const own = [error.code, error.message].filter(Boolean).join(' ');
  return [own, ...(error.errors || []).map(causes), causes(error.cause)].filter(Boolean).join(': ');
}

ways[way]().catch((error) => { console.error(causes(error)); process.exitCode = 1; });
