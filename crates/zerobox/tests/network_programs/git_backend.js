// Repositories over HTTP, with what git itself has for servers.
const { spawn } = require('child_process');

// CGI, as far as `git http-backend` needs it: what is below `/git/` is below `git` in the directory.
module.exports = (directory, request, reply) => {
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
};
