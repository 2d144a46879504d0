"""A server that a secret is for: it keeps what it is told, and says back what it should not.

secret_world.py DIR LOG VALUE. DIR has the certificates. What is printed first is JSON: the ports, and the forms of VALUE that nobody may
see. The host picks the certificate, and `h2.test` speaks HTTP/2. The path picks the answer; see `answer` and `odd`.
"""
import base64, gzip, html, json, os, socket, ssl, struct, sys, threading, urllib.parse, zlib

DIR, LOG, VALUE = sys.argv[1], sys.argv[2], sys.argv[3].encode()
log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)


def note(title, data):
    os.write(log, b'== ' + title.encode() + b'\n' + data + b'\n')


def every(v, template):
    return ''.join(template % byte for byte in v).encode()


def inner(v, before, coder):
    """The part of the base64 that `v` alone decides."""
    coded = coder(b'\0' * before + v).rstrip(b'=')
    return coded[-(-before * 8 // 6):(before + len(v)) * 8 // 6]


def forms(v):
    quote, text = urllib.parse.quote, v.decode()
    percent = [quote(text, safe=''), quote(text, safe='/'), urllib.parse.quote_plus(text), quote(text, safe="!'()*")]
    found = [v] + [p.encode() for p in percent]
    found += [every(v, '%%%02X'), every(v, '%%%02x'), every(v, '\\u%04x'), every(v, '\\u%04X'), every(v, '%02x'), every(v, '%02X')]
    found += [json.dumps(text)[1:-1].encode(), json.dumps(text)[1:-1].replace('/', '\\/').encode(), html.escape(text).encode()]
    found += [inner(v, before, coder) for before in range(3) for coder in (base64.b64encode, base64.urlsafe_b64encode)]
    return list(dict.fromkeys(found))


def spelled(v):
    """The same as servers write it."""
    lines = forms(v) + [b'Basic ' + base64.b64encode(b'user:' + v), b'"' + base64.b64encode(b'{"k":"' + v + b'"}') + b'"']
    lines += [base64.b64encode(b'x' * n + v + b'y' * n) for n in range(4)]
    return b'\n'.join(lines) + b'\n'


def brotli(data):
    """Stored, not packed (RFC 7932 section 9.2)."""
    return ((len(data) - 1) << 4 | 1 << 20).to_bytes(3, 'little') + data + b'\3'


def zstd(data):
    return b'\x28\xb5\x2f\xfd\x00\x58' + (len(data) << 3 | 1).to_bytes(3, 'little') + data


def coded(name, data):
    raw = zlib.compressobj(wbits=-15)
    coders = {'gzip': gzip.compress, 'x-gzip': gzip.compress, 'deflate': zlib.compress, 'br': brotli, 'zstd': zstd,
              'raw-deflate': lambda data: raw.compress(data) + raw.flush(), 'compress': lambda data: data, 'gzip, gzip': lambda data: gzip.compress(gzip.compress(data))}
    return coders[name](data)


def answer(path, key, said):
    """Status, fields, body and trailers."""
    kind, _, rest = path.split('?')[0].strip('/').partition('/')
    rest = urllib.parse.unquote(rest)
    if kind == 'echo':
        return 200, [('X-Echo', key), ('Set-Cookie', b'k=' + key)], said, []
    if kind == 'forms':
        return 200, [('Content-Type', b'text/plain')], spelled(key), []
    if kind == 'coded':
        name = rest.removeprefix('raw-')
        return 200, [('Content-Encoding', name.encode())], coded(rest, b'a ' + key + b' z'), []
    if kind == 'trailers':
        return 200, [('Trailer', b'X-Last')], b'body', [('X-Last', key)]
    if kind == 'named':
        return 200, [('X-' + ''.join(c for c in key.decode() if c.isalnum()), b'1'), ('X-Other', b'2')], b'ok', []
    if kind == 'to':
        return 302, [('Location', rest.encode() + key)], b'', []
    return 200, [], b'served\n', []


def odd(client, path, key):
    """Answers that are not for HTTP/2; `True` when one was given."""
    kind = path.split('?')[0].strip('/')
    head = b'HTTP/1.1 200 OK\r\nConnection: close\r\n'
    if kind == 'chunks':
        client.sendall(head + b'Transfer-Encoding: chunked\r\n\r\n')
        data = b'a ' + key + b' z'
        for size in (1, 2, 3, 5, 7, len(data)):
            for at in range(0, len(data), size):
                part = data[at:at + size]
                client.sendall(b'%x;ext=%s\r\n%s\r\n' % (len(part), key.hex().encode(), part))
        client.sendall(b'0\r\nX-Last: ' + key + b'\r\n\r\n')
    elif kind == 'drip':
        client.sendall(head + b'\r\n')
        for byte in b'a ' + key + b' z':
            client.sendall(bytes([byte]))
            threading.Event().wait(0.003)
    elif kind == 'transfer-coded':
        data = gzip.compress(b'a ' + key + b' z')
        client.sendall(head + b'Transfer-Encoding: gzip, chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n' % (len(data), data))
    elif kind == 'reason':
        client.sendall(b'HTTP/1.1 200 ' + key + b'\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok')
    elif kind == 'early':
        client.sendall(b'HTTP/1.1 103 Early Hints\r\nLink: <' + key + b'>\r\n\r\n' + head + b'Content-Length: 2\r\n\r\nok')
    elif kind == 'websocket':
        client.sendall(b'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Echo: ' + key + b'\r\n\r\n')
        client.sendall(bytes([0x81, len(key)]) + key)
    else:
        return False
    return True


def serve(client, title):
    data = b''
    while True:
        while b'\r\n\r\n' not in data and b'\n\n' not in data:
            part = client.recv(65536)
            if not part:
                return data and note(title + ' rest', data)
            data += part
        end = min(at for at in (data.find(b'\r\n\r\n') + 4, data.find(b'\n\n') + 2) if at > 3)
        head, data = data[:end], data[end:]
        fields = dict((n.strip().lower(), v.strip()) for n, _, v in (l.partition(b':') for l in head.splitlines()[1:]) if n)
        while b'chunked' in fields.get(b'transfer-encoding', b'') and not data.endswith(b'0\r\n\r\n') or \
                len(data) < int(fields.get(b'content-length', b'0')):
            part = client.recv(65536)
            if not part:
                break
            data += part
        if fields.get(b'expect'):
            client.sendall(b'HTTP/1.1 100 Continue\r\n\r\n')
        size = len(data) if b'transfer-encoding' in fields else int(fields.get(b'content-length', b'0'))
        body, data = data[:size], data[size:]
        note(title, head + body)
        words, key = head.split(b' '), fields.get(b'x-key', VALUE)
        path = words[1].decode('latin-1') if len(words) > 1 else ''
        if odd(client, path, key):
            continue
        status, extra, body, trailers = answer(path, key, head + body)
        lines = b''.join(n.encode() + b': ' + v.replace(b'\r', b'').replace(b'\n', b' ') + b'\r\n' for n, v in extra)
        if trailers:
            last = b''.join(n.encode() + b': ' + v + b'\r\n' for n, v in trailers)
            sent = b'Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n%s\r\n' % (len(body), body, last)
        else:
            sent = b'Content-Length: %d\r\n\r\n' % len(body) + (b'' if words[0] == b'HEAD' else body)
        client.sendall(b'HTTP/1.1 %d OK\r\n' % status + lines + sent)


# HPACK (RFC 7541): the static table, and the lengths of the code, which is canonical.
STATIC = [(':authority', ''), (':method', 'GET'), (':method', 'POST'), (':path', '/'), (':path', '/index.html'), (':scheme', 'http'), (':scheme', 'https')]
STATIC += [(':status', s) for s in '200 204 206 304 400 404 500'.split()] + [(n, '') for n in (
    'accept-charset accept-encoding accept-language accept-ranges accept access-control-allow-origin age allow authorization '
    'cache-control content-disposition content-encoding content-language content-length content-location content-range content-type '
    'cookie date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified '
    'link location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie '
    'strict-transport-security transfer-encoding user-agent vary via www-authenticate').split()]
LENGTHS = ('ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJBKABABABBBACCBBBABCBAABCCCCCKGJ'
           'IXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRSVVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWV')
CODES, code, last = {}, 0, 0
for length, symbol in sorted((ord(c) - 60, at) for at, c in enumerate(LENGTHS)):
    code <<= length - last
    CODES[length, code], last, code = symbol, length, code + 1


def unpacked(data):
    out, code, length = bytearray(), 0, 0
    for byte in data:
        for bit in range(7, -1, -1):
            code, length = code << 1 | byte >> bit & 1, length + 1
            if (length, code) in CODES:
                out.append(CODES[length, code])
                code = length = 0
    return bytes(out)


def number(block, at, bits):
    value = block[at] & (1 << bits) - 1
    at += 1
    if value == (1 << bits) - 1:
        shift = 0
        while True:
            value, shift, at = value + ((block[at] & 127) << shift), shift + 7, at + 1
            if block[at - 1] < 128:
                break
    return value, at


def fields_of(block, table):
    at, found = 0, []

    def text(at):
        is_packed = block[at] & 128
        size, at = number(block, at, 7)
        raw = block[at:at + size]
        return (unpacked(raw) if is_packed else raw).decode('latin-1'), at + size

    def entry(index):
        return STATIC[index - 1] if index <= 61 else table[index - 62]
    while at < len(block):
        if block[at] & 128:
            index, at = number(block, at, 7)
            found.append(entry(index))
            continue
        if block[at] & 224 == 32:
            _, at = number(block, at, 5)
            continue
        is_kept = block[at] & 64
        index, at = number(block, at, 6 if is_kept else 4)
        name, at = (entry(index)[0], at) if index else text(at)
        value, at = text(at)
        found.append((name, value))
        if is_kept:
            table.insert(0, (name, value))
    return found


def block_of(fields):
    size = lambda data: bytes([len(data)]) if len(data) < 127 else b'\x7f' + bytes([len(data) - 127 & 127 | 128, len(data) - 127 >> 7])
    return b''.join(b'\0' + size(n) + n + size(v) + v for n, v in fields)


def frame(client, kind, flags, stream, data):
    client.sendall(struct.pack('!I', len(data))[1:] + bytes([kind, flags]) + struct.pack('!I', stream) + data)


def serve_2(client, title):
    def exactly(count):
        data = b''
        while len(data) < count:
            part = client.recv(count - len(data))
            if not part:
                raise OSError
            data += part
        return data
    exactly(24)
    frame(client, 4, 0, 0, b'')
    table, open_ = [], {}
    while True:
        head = exactly(9)
        size, kind, flags, stream = int.from_bytes(head[:3], 'big'), head[3], head[4], int.from_bytes(head[5:], 'big')
        data = exactly(size)
        if kind == 4 and not flags & 1:
            frame(client, 4, 1, 0, b'')
        elif kind == 6 and not flags & 1:
            frame(client, 6, 1, 0, data)
        elif kind == 1:
            if flags & 8:
                data = data[1:len(data) - data[0]]
            fields = fields_of(data[5:] if flags & 32 else data, table)
            if stream in open_:
                open_[stream][0].extend(fields)
            else:
                open_[stream] = (fields, bytearray())
        elif kind == 0:
            open_[stream][1].extend(data[1:len(data) - data[0]] if flags & 8 else data)
        if kind in (0, 1) and flags & 1:
            fields, body = open_.pop(stream)
            said = ''.join(f'{n}: {v}\r\n' for n, v in fields).encode('latin-1') + b'\r\n' + bytes(body)
            note(title + ' h2', said)
            named = dict(fields)
            key = named.get('x-key', VALUE.decode()).encode('latin-1')
            status, extra, body, trailers = answer(named[':path'], key, said)
            lines = [(b':status', b'%d' % status)] + [(n.lower().encode(), v) for n, v in extra]
            frame(client, 1, 4, stream, block_of(lines))
            frame(client, 0, 0 if trailers else 1, stream, body)
            if trailers:
                frame(client, 1, 5, stream, block_of([(n.lower().encode(), v) for n, v in trailers]))


def context(name, protocol):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(f'{DIR}/{name}.pem', f'{DIR}/key.pem')
    made.set_alpn_protocols([protocol])
    return made


def pick(sock, name, _):
    sock.title = name or ''
    sock.context = context(KINDS.get(name, 'good'), 'h2' if name == 'h2.test' else 'http/1.1')


KINDS = {'expired.test': 'expired', 'self.test': 'self', 'wrong.test': 'good', 'unknown.test': 'unknown'}
first = context('good', 'http/1.1')
first.sni_callback = pick


def accept(server, is_tls):
    while True:
        client, _ = server.accept()
        threading.Thread(target=meet, args=(client, is_tls), daemon=True).start()


def meet(client, is_tls):
    client.settimeout(15)
    try:
        if not is_tls:
            return serve(client, 'plain')
        client = first.wrap_socket(client, server_side=True)
        title = 'tls ' + getattr(client, 'title', '')
        (serve_2 if client.selected_alpn_protocol() == 'h2' else serve)(client, title)
    except (OSError, ValueError, IndexError):
        pass
    finally:
        client.close()


servers = [socket.create_server(('127.0.0.1', 0), backlog=64) for _ in range(2)]
for server, is_tls in zip(servers, (True, False)):
    threading.Thread(target=accept, args=(server, is_tls), daemon=True).start()
print(json.dumps({'tls': servers[0].getsockname()[1], 'plain': servers[1].getsockname()[1],
                  'forms': [form.decode('latin-1') for form in forms(VALUE)]}), flush=True)
threading.Event().wait()
