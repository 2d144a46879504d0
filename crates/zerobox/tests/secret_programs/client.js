// What programs in Node do with a key, one way each: `node client.js WAY URL`. The key is in API_KEY.
const https = require('https');
const [way, url] = process.argv.slice(2);
const headers = { authorization: `Bearer ${process.env.API_KEY}` };

const ways = {
  async fetch() {
    const reply = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ text: 'x' }) });
    console.log(reply.status, await reply.text(), JSON.stringify([...reply.headers]));
    if (!reply.ok) throw new Error(`status ${reply.status}`);
  },
  https() {
    return new Promise((done, failed) => https.get(url, { headers }, (reply) => {
      reply.on('data', (data) => console.log(String(data)));
      reply.on('end', () => (reply.statusCode === 200 ? done() : failed(new Error(`status ${reply.statusCode}`))));
    }).on('error', failed));
  },
  ws() {
    const WebSocket = require('ws');
    return new Promise((done, failed) => {
      const socket = new WebSocket(url, { headers });
      const words = ['one', 'two', 'three'];
      socket.on('error', failed);
      socket.on('open', () => socket.send(words[0]));
      socket.on('message', (data) => {
        console.log(`hello ${data}`);
        words.shift();
        if (words.length) socket.send(words[0]);
        else done(socket.close());
      });
    });
  },
  // Words have to come one by one.
  async openai() {
    const { OpenAI } = require('openai');
    const client = new OpenAI({ apiKey: process.env.API_KEY, baseURL: url, maxRetries: 0 });
    const question = { model: 'm', messages: [{ role: 'user', content: 'one two three four' }] };
    const answer = await client.chat.completions.create(question);
    console.log(`hello ${answer.choices[0].message.content}`);
    let alone = 0, before = performance.now();
    for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
      const now = performance.now(), took = now - before;
      if (chunk.choices[0].delta.content && took > 150 && took < 900) alone++;
      before = now;
    }
    console.log(`${alone} alone`);
  },
};

function causes(error) {
  if (!error) return '';
  return [error.code, error.message, causes(error.cause)].filter(Boolean).join(' ');
}

ways[way]().catch((error) => { console.error(causes(error)); process.exitCode = 1; });
