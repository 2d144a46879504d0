"""The rest of the world for a test: every address and every port of it is this program, which keeps what it is told.

world.py SIDE LOG ZONE. A line of the log is `SIDE tcp ADDRESS PORT BYTES`, `SIDE udp ADDRESS PORT BYTES` or `SIDE dns NAME KIND`. ZONE is
a JSON object from names to lists of answers, `ADDRESS,ADDRESS`, of which each question gets the next, and the last for
ever; `!` is no answer at all. HTTP is answered with `served by ADDRESS`, and `/to/URL` with a redirect.
"""
import json, os, socket, struct, sys, threading

SIDE, LOG, ZONE = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
TCP, UDP = [80, 443, 8080, 22, 53, 853], [53, 443, 123, 5353]
asked, lock = {}, threading.Lock()
log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)


def note(*words):
    os.write(log, (' '.join([SIDE, *map(str, words)]) + '\n').encode())


def plain(address):
    return address.removeprefix('::ffff:')


def serve(client):
    address, port = client.getsockname()[:2]
    client.settimeout(20)
    head = b''
    try:
        while True:
            part = client.recv(65536)
            if not part:
                break
            head += part
            while b'\r\n\r\n' in head:
                first, head = head.split(b'\r\n\r\n', 1)
                note('tcp', plain(address), port, repr(first))
                path = first.split(b' ')[1] if b' ' in first else b''
                if path.startswith(b'/to/'):
                    client.sendall(b'HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ' + path[4:] + b'\r\n\r\n')
                else:
                    body = f'served by {plain(address)}\n'.encode()
                    client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
    except OSError:
        pass
    note('tcp', plain(address), port, repr(head))
    client.close()


def listen(port):
    server = socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
    while True:
        client, _ = server.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


def answer(query):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode('latin-1'))
        at += query[at] + 1
    name, kind = '.'.join(labels).lower(), struct.unpack('!H', query[at + 1:at + 3])[0]
    note('dns', name, kind)
    answers = ZONE.get(name)
    with lock:
        turn = asked[name, kind] = asked.get((name, kind), -1) + 1
    if answers is None:
        return query[:2] + b'\x81\x83' + query[4:6] + b'\0' * 6 + query[12:at + 5]
    now = answers[min(turn, len(answers) - 1)]
    if now == '!':
        return None
    family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
    found = [a for a in now.split(',') if (':' in a) == (kind == 28)] if kind in (1, 28) else []
    records = b''.join(b'\xc0\x0c' + struct.pack('!HHIH', kind, 1, 0, size) + socket.inet_pton(family, a) for a in found)
    return query[:2] + b'\x81\x80' + query[4:6] + struct.pack('!HHH', len(found), 0, 0) + query[12:at + 5] + records


def datagrams(port):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
    server.bind(('', port))
    while True:
        data, extra, _, peer = server.recvmsg(65536, 256)
        info = extra[0][2]
        to = socket.inet_ntoa(info[8:12])
        if port != 53:
            note('udp', to, port, repr(data))
        reply = data
        if port == 53:
            try:
                reply = answer(data)
            except Exception:
                note('udp', to, port, repr(data))
        if reply is not None:
            server.sendmsg([reply], [(socket.IPPROTO_IP, 8, struct.pack('=i', 0) + info[8:12] + info[4:8])], 0, peer)


if SIDE == 'world':
    sys.stdin.readline()  # until the link is here
    os.system('ip link set lo up; ip addr add 203.0.113.1/30 dev w1; ip -6 addr add 2001:db8:ffff::1/64 dev w1 nodad;'
              'ip link set w1 up; ip route add local 0.0.0.0/0 dev lo; ip -6 route add local ::/0 dev lo;'
              'ip -6 rule add pref 10 lookup local; ip -6 rule del pref 0; ip -6 rule add pref 5 to 2001:db8:ffff::2 lookup main')
for port in TCP:
    threading.Thread(target=listen, args=(port,), daemon=True).start()
for port in UDP if SIDE == 'world' else []:
    threading.Thread(target=datagrams, args=(port,), daemon=True).start()
threading.Event().wait(0.3)
print('ready', flush=True)
threading.Event().wait()
