#!/bin/bash
# Real clients and servers on the sandbox's network: the acceptance test of `--allow-net`, `--resolve` and `--publish`.
#
#   network_programs.sh [ZEROBOX [NAME...]]
#
# Servers on this machine's loopback stand behind
# names of tests, which `--resolve` gives them. Every check shows that the allowed way works with the real client, and
# that the forbidden ways (another name, another port, no rule) fail with the error that users of this client know, and
# at once. Package managers ask their real registries, for which nothing but their own configuration names a host.
#
# What it prints and as whom it runs: programs_frame.sh. A skip that `network_programs/skips.txt` does not list is a
# failure.

set -u
source "$(dirname "$(readlink -f "$0")")/programs_frame.sh"

checks="curl-http curl-https curl-http2 curl-proxy curl-deny curl-wildcard curl-redirect curl-transfers wget
python-socket python-urllib python-requests python-httpx python-asyncio python-half-close node-fetch node-https node-http2
node-websocket sse static-c static-rust go java nghttp grpc openssl starttls ssh git-ssh git-http psql psql-localhost redis
own-resolver names-that-lie datagrams many-connections own-loopback publish server-inside-first host-proxy events-file npm pip cargo
hosts-file"
# What needs an account with a name.
named_checks="ssh git-ssh"

# ---- the checks --------------------------------------------------------------------------------------------------
# Each runs in a directory of its own with the clients and `ca.pem`. A failed command fails the check.

check_curl-http() {
    needs curl
    pairs http 'Could not resolve host' '--allow-net=' curl -sS --fail-with-body http://web.test:$http/
    # A refused request says what to do, to whoever reads the answer.
    refused 'connection to.*web.test:'$http'.*--allow-net=web.test:'$http --allow-net=web.test:1 -- \
        curl -sS --fail-with-body http://web.test:$http/
    # Literal addresses follow the rules of addresses.
    refused '403|refused|reset|Empty reply' --allow-net=web.test -- curl -sS --fail-with-body http://192.0.2.1:$http/
}

check_curl-https() {
    needs curl
    pairs https 'Could not resolve host' 'SSL|TLS|reset|refused' curl -sS --cacert ca.pem https://web.test:$https/
    works 'hello from web.test' --allow-net=web.test -- curl -sS --tlsv1.2 --tls-max 1.2 --cacert ca.pem https://web.test:$https/
    works 'hello from web.test' --allow-net=web.test -- curl -sS --tlsv1.3 -4 --cacert ca.pem https://web.test:$https/
    works 'hello from web.test' --allow-net=web.test -- curl -sS -6 --cacert ca.pem https://web.test:$https/
    # The certificate is the server's own: nobody stands in between.
    refused_by_client 'certificate' --allow-net=web.test -- env -u CURL_CA_BUNDLE -u SSL_CERT_FILE curl -sS https://web.test:$https/
}

check_curl-http2() {
    needs curl
    works 'over HTTP/2.0' --allow-net=web.test:$https -- curl -sS --http2 --cacert ca.pem https://web.test:$https/
    works '^2 2 1$' --allow-net=web.test -- curl -sS --http2 --cacert ca.pem -o one -o two \
        -w '%{http_version} ' https://web.test:$https/ https://web.test:$https/bytes/9 --next -sS -o /dev/null -w '1' \
        http://web.test:$http/
    refused 'SSL|TLS|reset|refused' --allow-net=web.test:$http -- curl -sS --http2 --cacert ca.pem https://web.test:$https/
    # HTTP/2 without TLS from its first byte.
    works 'over HTTP/2.0' --allow-net=web.test:$h2c -- curl -sS --http2-prior-knowledge http://web.test:$h2c/
    refused '.' --allow-net=web.test:1 -- curl -sS --fail --http2-prior-knowledge http://web.test:$h2c/
    refused '.' --allow-net=web.test -- curl -sS --fail --http2-prior-knowledge -H 'Host: other.test' http://web.test:$h2c/
}

check_curl-proxy() {
    needs curl
    local by
    for by in '--socks5-hostname 198.18.0.1:3128' '-x http://198.18.0.1:3128' '-x socks5h://198.18.0.1:1080'; do
        pairs https 'proxy|SOCKS|CONNECT|socks' 'proxy|SOCKS|CONNECT|socks' curl -sS $by --cacert ca.pem https://web.test:$https/
        works 'hello from web.test' --allow-net=web.test -- curl -sS $by http://web.test:$http/
    done
    refused '403|--allow-net=other.test' --allow-net=web.test -- \
        curl -sS --fail-with-body -x http://198.18.0.1:3128 http://other.test:$http/
    # As programs that heed the variables do.
    works 'hello from web.test' --allow-net=web.test --env http_proxy=http://198.18.0.1:3128 --env https_proxy=http://198.18.0.1:3128 -- \
        curl -sS --cacert ca.pem https://web.test:$https/ http://web.test:$http/
}

check_curl-deny() {
    needs curl
    works 'hello from web.test' --allow-net --deny-net=other.test -- curl -sS --cacert ca.pem https://web.test:$https/
    refused 'Could not resolve host' --allow-net --deny-net=web.test -- curl -sS --cacert ca.pem https://web.test:$https/
    refused 'SSL|TLS|reset|refused' --allow-net --deny-net=web.test:$https -- curl -sS --cacert ca.pem https://web.test:$https/
    works 'hello from web.test' --allow-net --deny-net=web.test:$https -- curl -sS http://web.test:$http/
}

check_curl-wildcard() {
    needs curl
    works 'hello from deep.sub.test' --allow-net='*.sub.test' -- curl -sS --cacert ca.pem https://deep.sub.test:$https/
    works 'hello from DEEP.Sub.Test' --allow-net='*.sub.test' -- curl -sS --cacert ca.pem https://DEEP.Sub.Test:$https/
    refused 'Could not resolve host' --allow-net='*.sub.test' -- curl -sS --cacert ca.pem https://sub.test:$https/
    refused 'Could not resolve host' --allow-net='*.sub.test' -- curl -sS --cacert ca.pem https://web.test:$https/
}

check_curl-redirect() {
    needs curl
    works 'hello from web.test' --allow-net=web.test -- curl -sSL http://web.test:$http/redirect?http://web.test:$http/
    refused 'Could not resolve host: other.test' --allow-net=web.test -- curl -sSL http://web.test:$http/redirect?http://other.test:$http/
    # The host's own loopback, to which a page outside may point.
    refused_by_client "Couldn't connect|refused" --allow-net=web.test -- curl -sSL http://web.test:$http/redirect?http://127.0.0.1:$http/
}

check_curl-transfers() {
    needs curl sha256sum
    local size=67108864 sum
    sum=$(curl -sS --noproxy '*' http://127.0.0.1:$http/bytes/$size | sha256sum | cut -d' ' -f1)
    works "$sum" --allow-net=web.test -- bash -c "curl -sS --cacert ca.pem https://web.test:$https/bytes/$size | sha256sum"
    works "$sum" --allow-net=web.test -- bash -c "curl -sS http://web.test:$http/bytes/$size | sha256sum"
    works "$sum" --allow-net=web.test -- bash -c "curl -sS -x socks5h://198.18.0.1:1080 http://web.test:$http/bytes/$size | sha256sum"
    curl -sS --noproxy '*' -o upload http://127.0.0.1:$http/bytes/$size
    works "$sum" --allow-net=web.test -- curl -sS --cacert ca.pem -T upload https://web.test:$https/sha256
    works "$sum" --allow-net=web.test -- curl -sS -H 'Expect: 100-continue' -T upload http://web.test:$http/sha256
    works "$sum" --allow-net=web.test -- bash -c "curl -sS -T - http://web.test:$http/sha256 < upload"
}

check_wget() {
    needs wget
    pairs http 'unable to resolve host' '403' wget -nv --tries=1 -O - http://web.test:$http/
    pairs https 'unable to resolve host' 'Unable to establish SSL|GnuTLS|reset|refused' \
        wget -nv --tries=1 -O - --ca-certificate=ca.pem https://web.test:$https/
}

check_python-socket() {
    pairs http 'gaierror' '--allow-net=' "$python" client.py tcp web.test $http
    pairs https 'gaierror' 'SSL|reset|refused|Reset|Refused' "$python" client.py tls web.test $https
}

check_python-urllib() {
    pairs http 'URLError.*(Name or service|name resolution)' 'HTTP Error 403' "$python" client.py urllib http://web.test:$http/
    pairs https 'URLError.*(Name or service|name resolution)' 'URLError|Reset|reset' "$python" client.py urllib https://web.test:$https/
}

check_python-requests() {
    python_has requests
    pairs https 'ConnectionError.*(Name or service|name resolution)' 'SSLError|ConnectionError' "$python" client.py requests https://web.test:$https/
    pairs http 'ConnectionError.*(Name or service|name resolution)' '403 Client Error' "$python" client.py requests http://web.test:$http/
}

check_python-httpx() {
    python_has httpx
    pairs https 'ConnectError.*(Name or service|name resolution)' 'ConnectError' "$python" client.py httpx https://web.test:$https/
}

check_python-asyncio() {
    pairs https 'gaierror' 'SSL|Reset|reset|Refused|Abort' "$python" client.py asyncio web.test $https
}

check_python-half-close() {
    works whole --allow-net=web.test -- "$python" client.py half-close web.test $http 3000000
    works whole --allow-net=web.test:$http -- "$python" client.py half-close web.test $http 1
}

check_node-fetch() {
    needs node
    pairs https 'ENOTFOUND|EAI_AGAIN' 'ECONNRESET|ECONNREFUSED|socket disconnected|SSL' env NODE_EXTRA_CA_CERTS=ca.pem node client.js fetch https://web.test:$https/
    pairs http 'ENOTFOUND|EAI_AGAIN' 'status 403' node client.js fetch http://web.test:$http/
}

check_node-https() {
    needs node
    pairs https 'ENOTFOUND|EAI_AGAIN' 'ECONNRESET|ECONNREFUSED|EPROTO|SSL' node client.js https https://web.test:$https/
}

check_node-http2() {
    needs node
    pairs https 'ENOTFOUND|EAI_AGAIN' 'ECONNRESET|ECONNREFUSED|EPROTO|SSL|closed' node client.js http2 https://web.test:$https/
}

check_node-websocket() {
    needs node
    local flag
    flag=$(node -p 'typeof WebSocket === "function" ? "--no-warnings" : "--experimental-websocket"')
    node $flag -e 'WebSocket' 2> /dev/null || skip 'this node has no WebSocket'
    pairs http 'ENOTFOUND|EAI_AGAIN|network error|WebSocket' 'WebSocket|403|network error' node $flag client.js websocket ws://web.test:$http/
    pairs https 'ENOTFOUND|EAI_AGAIN|network error|WebSocket' 'WebSocket|ECONNRESET|network error' \
        env NODE_EXTRA_CA_CERTS=ca.pem node $flag client.js websocket wss://web.test:$https/
}

check_sse() {
    works '4 alone' --allow-net=web.test -- "$python" client.py events http://web.test:$http/events
    works '4 alone' --allow-net=web.test -- "$python" client.py events https://web.test:$https/events
}

check_static-c() {
    needs gcc
    gcc -O1 -static -o client client.c 2> log || skip "no static C library: $(tail -n 1 log)"
    pairs http 'getaddrinfo: ' '--allow-net=' ./client get web.test $http
    refused_by_client 'connect: Connection refused' --allow-net=web.test -- ./client get 127.0.0.1 $http
}

check_static-rust() {
    needs rustc
    rustc --edition 2021 -C target-feature=+crt-static -o client client.rs
    pairs http 'failed to lookup address' '--allow-net=' ./client web.test $http
}

check_go() {
    needs go
    CGO_ENABLED=0 GOFLAGS=-mod=mod GOCACHE=$HOME/go-build go build -o client client.go
    pairs https 'no such host|server misbehaving' 'reset|EOF|refused|tls' ./client https://web.test:$https/
}

check_java() {
    needs java javac keytool
    javac Client.java
    works 'hello from web.test' --allow-net=web.test -- java -Xshare:auto -XX:TieredStopAtLevel=1 -cp . Client http://web.test:$http/
    keytool -importcert -noprompt -alias ca -file ca.pem -keystore ca.p12 -storepass changeit 2> log
    pairs https 'UnresolvedAddress|UnknownHost|ConnectException' 'SSL|reset|EOF|closed|IOException' java -Xshare:auto -XX:TieredStopAtLevel=1 \
        -Djavax.net.ssl.trustStore=ca.p12 -Djavax.net.ssl.trustStorePassword=changeit -cp . Client https://web.test:$https/
}

check_nghttp() {
    needs nghttp
    works 'hello from web.test over HTTP/2.0' --allow-net=web.test -- nghttp --no-verify-peer https://web.test:$https/
    refused_quietly '[Ff]ailed|[Cc]ould not|[Ee]rror|not processed|HTTP/2' --allow-net=web.test:$http -- nghttp --no-verify-peer https://web.test:$https/
    refused_quietly 'Name or service|name resolution|[Ff]ailed|not processed' --allow-net=other.test -- nghttp --no-verify-peer https://web.test:$https/
}

check_grpc() {
    python_has grpc
    works '^ABC$' --allow-net=rpc.test -- "$python" grpc_pair.py call ca.pem rpc.test $grpc
    works '^HELLO$' --allow-net=rpc.test:$grpc -- "$python" grpc_pair.py call ca.pem rpc.test $grpc
    works '^ABC$' --allow-net=rpc.test:$grpc_clear -- "$python" grpc_pair.py call - rpc.test $grpc_clear
    refused 'UNAVAILABLE' --allow-net=rpc.test:$grpc -- "$python" grpc_pair.py call - rpc.test $grpc_clear
    refused 'UNAVAILABLE' --allow-net=rpc.test:1 -- "$python" grpc_pair.py call ca.pem rpc.test $grpc
    refused 'UNAVAILABLE' --allow-net=other.test -- "$python" grpc_pair.py call ca.pem rpc.test $grpc
    refused_by_client 'UNAVAILABLE' -- "$python" grpc_pair.py call ca.pem rpc.test $grpc
}

check_openssl() {
    needs openssl
    local client="openssl s_client -brief -CAfile ca.pem -verify_return_error -connect web.test:$https"
    works 'Verification: OK' --allow-net=web.test -- $client -servername web.test
    works 'Verification: OK' --allow-net=web.test -- $client -noservername
    works 'Protocol version: TLSv1.2' --allow-net=web.test -- $client -servername web.test -tls1_2
    # Another name on the same address, behind the name that is allowed.
    refused 'SSL|TLS|errno|alert|unexpected eof' --allow-net=web.test -- $client -servername other.test
    refused 'errno|alert|unexpected eof|SSL' --allow-net=web.test:1 -- $client -servername web.test
    refused 'Name or service|name resolution|BIO_lookup|gethostbyname' --allow-net=other.test -- $client -servername web.test
    refused_by_client 'Name or service|name resolution|BIO_lookup|gethostbyname' -- $client -servername web.test
}

check_starttls() {
    needs openssl curl
    local client="openssl s_client -brief -CAfile ca.pem -verify_return_error -starttls smtp -connect mail.test:$smtp"
    works 'Verification: OK' --allow-net=mail.test:$smtp -- $client -servername mail.test
    refused 'errno|SMTP|eof|SSL|error|BIO|Didn' --allow-net=mail.test:1 -- $client
    refused 'Name or service|name resolution|BIO_lookup|gethostbyname' --allow-net=web.test -- $client
    works 'mail.test' --allow-net=mail.test -- curl -sSv --ssl-reqd --cacert ca.pem --mail-from a@mail.test --mail-rcpt b@mail.test \
        -T ca.pem smtp://mail.test:$smtp/mail.test
}

# A server of this account's own, and `ssh` with a configuration that knows it.
start_sshd() {
    local sshd
    needs ssh ssh-keygen git
    id -un > /dev/null 2>&1 || skip 'this uid has no account, without which ssh refuses to run'
    sshd=$(command -v sshd || command -v /usr/sbin/sshd) || skip 'not installed: sshd'
    [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
    ssh-keygen -q -t ed25519 -N '' -C test -f host_key
    ssh-keygen -q -t ed25519 -N '' -C test -f key
    cp key.pub authorized
    read -r sshd_port < <("$python" client.py free-ports 1)
    cat > sshd_config << CONFIG
ListenAddress 127.0.0.1
Port $sshd_port
HostKey $PWD/host_key
AuthorizedKeysFile $PWD/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PrintMotd no
Subsystem sftp internal-sftp
CONFIG
    echo "[ssh.test]:$sshd_port $(cat host_key.pub)" > known
    cat > ssh_config << CONFIG
Host ssh.test
    Port $sshd_port
    User $(id -un)
    IdentityFile key
    IdentitiesOnly yes
    UserKnownHostsFile known
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    BatchMode yes
CONFIG
    "$sshd" -D -e -f sshd_config 2> sshd.log &
    servers+=($!)
    await_port $sshd_port
    pin ssh.test $sshd_port
}

check_ssh() {
    start_sshd
    works "^through ssh$" --allow-net=ssh.test:$sshd_port -- ssh -F ssh_config ssh.test echo through ssh
    refused 'Connection (closed|reset)|kex_exchange|refused' --allow-net=ssh.test:22 -- ssh -F ssh_config ssh.test echo through ssh
    refused 'Could not resolve hostname' --allow-net=web.test -- ssh -F ssh_config ssh.test echo through ssh
    refused_by_client 'Could not resolve hostname' -- ssh -F ssh_config ssh.test echo through ssh
    # Data both ways.
    head -c 20000000 /dev/urandom > data
    works "$(sha256sum < data | cut -d' ' -f1)" --allow-net=ssh.test -- bash -c 'ssh -F ssh_config ssh.test cat < data | sha256sum'
    works '' --allow-net=ssh.test --allow-write=. -- scp -q -F ssh_config ssh.test:"$PWD"/data copied
    cmp data copied
}

check_git-ssh() {
    start_sshd
    works '' --allow-net=ssh.test:$sshd_port --allow-write=. -- git -c core.sshCommand='ssh -F ssh_config' clone -q -u 'git -c safe.directory=* upload-pack' ssh://ssh.test$shared/git/sample.git clone
    [ "$(cat clone/file)" = content ]
    refused 'Could not read from remote' --allow-net=web.test --allow-write=. -- git -c core.sshCommand='ssh -F ssh_config' clone -q -u 'git -c safe.directory=* upload-pack' ssh://ssh.test$shared/git/sample.git second
}

check_git-http() {
    needs git
    works '' --allow-net=web.test:$http --allow-write=. -- git clone -q http://web.test:$http/git/sample.git clone
    [ "$(cat clone/file)" = content ]
    works '' --allow-net=web.test:$https --allow-write=. -- git -c http.sslCAInfo=ca.pem clone -q https://web.test:$https/git/sample.git second
    [ "$(cat second/file)" = content ]
    works refs/heads/main --allow-net=web.test -- git ls-remote http://web.test:$http/git/sample.git
    refused '403' --allow-net=web.test:1 -- git ls-remote http://web.test:$http/git/sample.git
    refused 'Could not resolve host' --allow-net=other.test -- git ls-remote http://web.test:$http/git/sample.git
    refused_by_client 'Could not resolve host' -- git ls-remote http://web.test:$http/git/sample.git
}

needs_postgres() {
    needs psql
    [ -n "$postgres" ] || skip 'no PostgreSQL server runs: it needs initdb and an account other than root'
}

check_psql() {
    needs_postgres
    local query='SELECT sum(n) FROM generate_series(1, 10) AS n'
    works '^55$' --allow-net=db.test:$postgres -- psql -U tester -d postgres -h db.test -p $postgres -Atc "$query"
    # It asks for TLS first, which this server has.
    works '^t$' --allow-net=db.test --env PGSSLMODE=require -- psql -U tester -d postgres -h db.test -p $postgres -Atc \
        'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'
    works '^100000$' --allow-net=db.test -- bash -c "seq 100000 | psql -U tester -d postgres -h db.test -p $postgres -Atc \
        'CREATE TEMP TABLE t (a int)' -c '\copy t FROM stdin' -c 'SELECT count(*) FROM t' | tail -n 1"
    refused 'server closed|reset|refused' --allow-net=db.test:1 -- psql -U tester -d postgres -h db.test -p $postgres -Atc "$query"
    refused 'could not translate host name' --allow-net=web.test -- psql -U tester -d postgres -h db.test -p $postgres -Atc "$query"
    refused_by_client 'could not translate host name' -- psql -U tester -d postgres -h db.test -p $postgres -Atc "$query"
}

check_psql-localhost() {
    needs_postgres
    local host query='SELECT 6 * 7'
    for host in localhost 127.0.0.1; do
        works '^42$' --allow-net=localhost:$postgres -- psql -U tester -d postgres -h $host -p $postgres -Atc "$query"
        works '^42$' --allow-net=localhost -- psql -U tester -d postgres -h $host -p $postgres -Atc "$query"
        works '^42$' --allow-net=127.0.0.1:$postgres -- psql -U tester -d postgres -h $host -p $postgres -Atc "$query"
        refused_by_client 'Connection refused' --allow-net=localhost:1 -- psql -U tester -d postgres -h $host -p $postgres -Atc "$query"
        refused_by_client 'Connection refused' --allow-net -- psql -U tester -d postgres -h $host -p $postgres -Atc "$query"
        refused_by_client 'Connection refused' -- psql -U tester -d postgres -h $host -p $postgres -Atc "$query"
    done
}

check_redis() {
    needs redis-server redis-cli
    local port
    read -r port < <("$python" client.py free-ports 1)
    redis-server --bind 127.0.0.1 --port $port --save '' --appendonly no > redis.log &
    servers+=($!)
    await_port $port
    pin cache.test $port
    works '^PONG$' --allow-net=cache.test:$port -- redis-cli -h cache.test -p $port PING
    works '^OK$' --allow-net=cache.test -- redis-cli -h cache.test -p $port SET key value
    works '^value$' --allow-net=localhost:$port -- redis-cli -p $port GET key
    # Ten thousand round trips; with delayed acknowledgements they would take minutes.
    works 'PING_INLINE|PING_MBULK' --allow-net=cache.test -- redis-benchmark -h cache.test -p $port -t ping -n 10000 -c 20 -q
    refused 'closed|reset|refused|Error' --allow-net=cache.test:1 -- redis-cli -e -h cache.test -p $port PING
    refused 'Could not connect.*(Name or service|name resolution)' --allow-net=web.test -- redis-cli -h cache.test -p $port PING
    refused_by_client 'Could not connect' -- redis-cli -h cache.test -p $port PING
}

check_own-resolver() {
    needs gcc
    gcc -O1 -static -o client client.c 2> log || skip "no static C library: $(tail -n 1 log)"
    works '^198\.1[89]\.' --allow-net=web.test -- ./client ask 198.18.0.1 web.test
    # Any other server is ours as well, and nothing is forwarded.
    works '^198\.1[89]\.' --allow-net=web.test -- ./client ask 192.0.2.53 web.test
    refused 'rcode 3' --allow-net=web.test -- ./client ask 192.0.2.53 secret.of.other.test
    # A program without /etc/resolv.conf asks its own machine.
    works '^198\.1[89]\.' --allow-net=web.test -- ./client ask 127.0.0.1 web.test
}

check_names-that-lie() {
    needs curl
    # The right address, another name above it.
    refused 'SSL|TLS|reset|EOF' --allow-net=web.test -- curl -sSk --connect-to other.test:$https:web.test:$https https://other.test:$https/
    refused '421|403' --allow-net=web.test -- curl -sS --fail-with-body -H 'Host: other.test' http://web.test:$http/
    # The address that the name really has, which no rule names.
    refused '403|reset|refused' --allow-net=web.test -- curl -sS --fail-with-body --connect-to web.test:$http:192.0.2.1:$http http://web.test:$http/
    refused 'proxy|CONNECT|SOCKS' --allow-net=web.test -- curl -sSk -x http://198.18.0.1:3128 https://127.0.0.1:$https/
}

check_datagrams() {
    refused_by_client 'ConnectionRefusedError' --allow-net=web.test -- "$python" client.py datagram web.test $https
    refused_by_client 'ConnectionRefusedError' --allow-net=web.test -- "$python" client.py datagram 192.0.2.1 443
    refused_by_client 'ConnectionRefusedError|OSError|gaierror' -- "$python" client.py datagram 192.0.2.1 443
    works datagram --allow-net=web.test -- "$python" client.py echo-datagram 5353
    works datagram -- "$python" client.py echo-datagram 5353
}

check_many-connections() {
    works '^200 answers$' --allow-net=web.test -- "$python" client.py many web.test $http 200
    works '^0 answers$' --allow-net=web.test:1 -- "$python" client.py many web.test $http 50
}

check_own-loopback() {
    # The host has a server on that very port; the program's own one is the one that answers.
    works '^INSIDE$' -- "$python" client.py own-server $http
    works '^INSIDE$' --allow-net=web.test -- "$python" client.py own-server $http
    works '^INSIDE$' --allow-net=localhost -- "$python" client.py own-server $http
    works '^INSIDE$' --allow-net=localhost:$http -- "$python" client.py own-server $http
}

check_publish() {
    needs node curl
    local port found
    cat > dev.js << 'JAVASCRIPT'
require('http').createServer((_, reply) => reply.end('from inside\n')).listen(3000, process.argv[2], () => console.log('ready'));
JAVASCRIPT
    read -r port < <("$python" client.py free-ports 1)
    local address
    for address in 127.0.0.1 0.0.0.0 ::; do
        start_box --publish $port:3000 -- node dev.js $address
        [ "$(ask_until_up http://127.0.0.1:$port/)" = 'from inside' ]
        # This address alone, and this port alone.
        ! curl -sS --noproxy '*' --max-time 5 "http://127.0.0.2:$port/"
        stop_box
        ! curl -sS --noproxy '*' --max-time 5 "http://127.0.0.1:$port/"
    done
    start_box --publish 0:3000 --events=events.json -- node dev.js 127.0.0.1
    for _ in $(seq 100); do
        found=$("$python" -c 'import json; print(*(event["address"] for event in map(json.loads, open("events.json")) if event["event"] == "published"))' 2> /dev/null) || found=
        [ -z "$found" ] || break
        sleep 0.1
    done
    [ "$(ask_until_up "http://$found/")" = 'from inside' ]
    stop_box
    # Published together with rules, and before anybody listens: refused, not hanging.
    start_box --publish 127.0.0.2:$port:3000 --allow-net=web.test -- sleep 30
    for _ in $(seq 50); do
        curl -sS --noproxy '*' --max-time 5 "http://127.0.0.2:$port/" > curl.log 2>&1 || true
        grep -Eq 'reset|Empty reply' curl.log && break
        sleep 0.1
    done
    grep -E 'reset|Empty reply' curl.log
    stop_box
    # A port of the host's that is taken.
    refused_by_client 'in use' --publish $http:3000 -- true
}

check_server-inside-first() {
    needs curl
    works 'hello from localhost' --allow-net=localhost:$http -- curl -sS http://localhost:$http/
    works 'hello from 127.0.0.1' --allow-net=localhost:$http -- curl -sS http://127.0.0.1:$http/
    works '^INSIDE$' --allow-net=localhost:$http -- "$python" client.py own-server $http
    refused_by_client "Couldn't connect|refused" --allow-net=localhost:$http -- curl -sS http://127.0.0.1:$https/
}

check_events-file() {
    needs curl
    works '' --allow-net=web.test --events=events.json -- bash -c "curl -sS http://web.test:$http/; curl -sS http://other.test:$http/ || true"
    "$python" - << PYTHON
import json
events = [json.loads(line) for line in open("events.json")]
assert any(e["event"] == "connect" and e["host"] == "web.test" and e["port"] == $http for e in events), events
assert any(e["event"] == "dns" and e["name"] == "other.test" and not e["allowed"] for e in events), events
PYTHON
}

# The host's own proxy, with a password that nobody inside learns.
check_host-proxy() {
    needs curl
    local proxy
    "$python" proxy_server.py "$PWD" $https &
    servers+=($!)
    for _ in $(seq 200); do [ -s proxy.port ] && break; sleep 0.05; done
    proxy=127.0.0.1:$(cat proxy.port)
    export HTTPS_PROXY=http://user:secret@$proxy
    works 'hello from far.test' --allow-net=far.test -- curl -sS --cacert ca.pem https://far.test/
    works 'hello from far.test' --allow-net=far.test:8443 -- curl -sS --cacert ca.pem https://far.test:8443/
    [ "$(tr '\n' ' ' < proxy.log)" = 'CONNECT far.test:443 HTTP/1.1 CONNECT far.test:8443 HTTP/1.1 ' ]
    works 'hello from web.test' --allow-net=web.test -- curl -sS --cacert ca.pem https://web.test:$https/
    refused 'Could not resolve host' --allow-net=far.test -- curl -sS --cacert ca.pem https://near.test/
    refused 'SSL|TLS' --allow-net=far.test:1 -- curl -sS --cacert ca.pem https://far.test/
    refused 'SSL|TLS' --allow-net --deny-net=far.test:443 -- curl -sS --cacert ca.pem https://far.test/
    works '^nothing$' --allow-net=far.test --allow-write=. -- bash -c 'env | grep secret || echo nothing'
    refused_by_client "Couldn't connect|refused" --allow-net=far.test -- curl -sS http://$proxy/
    HTTPS_PROXY=http://user:wrong@$proxy refused_by_client 'SSL|TLS|reset' --allow-net=far.test -- curl -sS --cacert ca.pem https://far.test/
    grep '^zerobox: failed outside: ' "$place/output"
    ! grep wrong "$place/output"
    [ "$(wc -l < proxy.log)" = 2 ]
}

# ---- package managers --------------------------------------------------------------------------------------------

# The variables with which this machine's clients find their certificates; a company's own may be among them.
ca_variables=SSL_CERT_FILE,SSL_CERT_DIR,NODE_EXTRA_CA_CERTS,PIP_CERT,REQUESTS_CA_BUNDLE,CURL_CA_BUNDLE,CARGO_HTTP_CAINFO

# `rules URL...`: the rules that let a program get these and nothing else, `HOST:PORT,HOST:PORT`.
rules() {
    "$python" - "$@" << 'PYTHON'
import sys, urllib.parse
urls = [urllib.parse.urlsplit(url) for url in sys.argv[1:]]
print(",".join(sorted({f"{url.hostname}:{url.port or (80 if url.scheme == 'http' else 443)}" for url in urls})))
PYTHON
}

check_npm() {
    needs node npm
    local registry tarball rule
    registry=$(npm config get registry)
    tarball=$(timeout 30 npm view is-number dist.tarball --fetch-retries=0 2> log) || skip "the registry does not answer: $(grep -m 1 . log)"
    rule=$(rules "$registry" "$tarball")
    works '' --allow-write=. --allow-env=$ca_variables --allow-net="$rule" -- \
        npm install --registry="$registry" --no-audit --no-fund --no-update-notifier is-number
    [ -f node_modules/is-number/package.json ]
    refused 'ENOTFOUND|EAI_AGAIN' --allow-write=. --allow-net=web.test -- \
        npm install --registry="$registry" --no-audit --no-fund --no-update-notifier --fetch-retries=0 is-odd
}

check_pip() {
    "$python" -m pip --version > log 2>&1 || "$python" -m venv venv > log 2>&1 || skip "no pip: $(tail -n 1 log)"
    local pip="$python -m pip" index files rule
    [ ! -x venv/bin/pip ] || pip=venv/bin/pip
    index=$($pip config get global.index-url 2> /dev/null || ${pip/% -m pip/} -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)' 2> /dev/null ||
        venv/bin/python -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)')
    index=${PIP_INDEX_URL:-$index}
    # The pages of the index say where the files are.
    files=$(timeout 40 "$python" - "${index%/}/six/" 2> log << 'PYTHON'
import re, sys, urllib.parse, urllib.request
page = urllib.request.urlopen(sys.argv[1], timeout=30).read().decode()
print(urllib.parse.urljoin(sys.argv[1], re.search(r'href="([^"]+)"', page)[1].split("#")[0]))
PYTHON
    ) || skip "the index does not answer: $(tail -n 1 log)"
    rule=$(rules "$index" "$files")
    works '' --allow-write=. --allow-env=$ca_variables --allow-net="$rule" -- \
        $pip download --disable-pip-version-check --no-cache-dir --index-url "$index" --dest downloaded six
    ls downloaded/six-*.whl
    refused 'No matching distribution|resolve|Name or service' --allow-write=. --allow-net=web.test -- \
        $pip download --disable-pip-version-check --no-cache-dir --retries 0 --index-url "$index" --dest again six
}

check_cargo() {
    needs cargo
    local home hosts rule
    mkdir src bare
    echo 'fn main() {}' > src/main.rs
    printf '[package]\nname = "sample"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nitoa = "1"\n' > Cargo.toml
    # Another home, with the configuration of the account's own.
    home=$PWD/bare
    [ ! -f "${CARGO_HOME:-}/config.toml" ] || cp "$CARGO_HOME/config.toml" bare/
    CARGO_HOME=$home CARGO_NET_RETRY=0 timeout 60 cargo fetch > log 2>&1 || skip "the registry does not answer: $(tail -n 1 log)"
    # What it made tells the host of the index, and the index where the files are.
    hosts=$("$python" - bare/registry/index << 'PYTHON'
import glob, json, os, sys
[index] = glob.glob(sys.argv[1] + "/*")
print("https://" + os.path.basename(index).rsplit("-", 1)[0])
text = open(index + "/config.json").read()
print(json.loads(text[text.index("{"):])["dl"].split("{")[0])
PYTHON
    )
    rule=$(rules $hosts)
    mkdir inside
    [ ! -f bare/config.toml ] || cp bare/config.toml inside/
    works '' --allow-write=. --allow-env=$ca_variables --env CARGO_HOME="$PWD/inside" --allow-net="$rule" -- cargo fetch --locked
    ls inside/registry/cache/*/itoa-*.crate
    rm -r inside/registry
    refused 'resolve host' --allow-write=. --env CARGO_HOME="$PWD/inside" --env CARGO_NET_RETRY=0 --allow-net=web.test -- cargo fetch --locked
}

# ---- without pins ------------------------------------------------------------------------------------------------

# Names in a hosts file of its own, and servers on another machine: a network namespace behind a pair of interfaces.
check_hosts-file() {
    needs curl node ip unshare nsenter
    [ "$(id -u)" = 0 ] || skip 'mounts need root'
    unshare --mount --net true 2> log || skip "no namespaces of its own: $(tail -n 1 log)"
    export -f hosts_file_outside box works refused refused_by_client run_refused says_blocked
    export shared place limit_ms
    unshare --mount --net --propagation private bash -c 'set -eo pipefail; hosts_file_outside'
}

hosts_file_outside() {
    far='' node=''
    # Whatever ends this ends them as well: the namespace goes with its last process.
    trap 'kill $far $node 2> /dev/null || true' EXIT
    unshare --net sleep 120 &
    far=$!
    until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.05; done
    ip link set lo up
    ip link add near type veth peer name far netns $far
    ip addr add 203.0.113.1/24 dev near
    ip link set near up
    nsenter --net=/proc/$far/ns/net sh -c 'ip link set lo up; ip addr add 203.0.113.2/24 dev far; ip addr add 10.77.0.2/32 dev far; ip link set far up'
    ip route add 10.77.0.0/24 via 203.0.113.2
    printf '127.0.0.1 localhost loop.test\n203.0.113.2 web.test other.test\n10.77.0.2 private.test\n203.0.113.1 near.test\n203.0.113.9 nobody.test\n169.254.169.254 metadata.test\n' > hosts
    mount --bind hosts /etc/hosts
    mkdir far
    cp "$shared"/*.pem far/
    nsenter --net=/proc/$far/ns/net node web_server.js "$PWD/far" 0.0.0.0 &
    node=$!
    for _ in $(seq 200); do [ -s far/http.port ] && [ -s far/https.port ] && break; sleep 0.05; done
    http=$(cat far/http.port) https=$(cat far/https.port)
    pins=()
    works 'hello from web.test' --allow-net=web.test:$https -- curl -sS --cacert ca.pem https://web.test:$https/
    works 'hello from web.test' --allow-net -- curl -sS http://web.test:$http/
    works 'hello from 203.0.113.2' --allow-net=203.0.113.0/24:$http -- curl -sS http://203.0.113.2:$http/
    refused 'Could not resolve host' --allow-net=web.test -- curl -sS http://other.test:$http/
    refused '403|reset' --allow-net=web.test -- curl -sS --fail-with-body http://203.0.113.2:$http/
    # A name that leads to a private address, to this machine, and to where cloud machines keep their secrets.
    refused '403' --allow-net=private.test -- curl -sS --fail-with-body http://private.test:$http/
    works 'hello from private.test' --allow-net=private.test,10.77.0.0/24 -- curl -sS http://private.test:$http/
    works 'hello from 10.77.0.2' --allow-net=10.77.0.2 -- curl -sS http://10.77.0.2:$http/
    refused '403' --allow-net -- curl -sS --fail-with-body http://near.test:$http/
    refused '403' --allow-net -- curl -sS --fail-with-body http://loop.test:$http/
    refused '403' --allow-net -- curl -sS --fail-with-body http://metadata.test/
    # Deny rules hold for the address as well.
    refused '403' --allow-net=web.test --deny-net=203.0.113.2 -- curl -sS --fail-with-body http://web.test:$http/
    # A name that is nobody's.
    refused_by_client 'resolve|reset|502|Empty' --allow-net -- curl -sS --fail-with-body http://unknown.test:$http/
    grep '^zerobox: failed outside: .*unknown.test' "$place/output"
    # A server that is not there, and a port on which nobody listens.
    refused_by_client 'refused|reset|502|Empty' --allow-net -- curl -sS --fail-with-body http://web.test:1/
    grep '^zerobox: failed outside: .*web.test:1.*refused' "$place/output"
}

# ---- how they are run --------------------------------------------------------------------------------------------

# `refused PATTERN FLAGS -- COMMAND`: it fails soon with such a message, and Zerobox says what it blocked.
refused() {
    run_refused fails "$@"
    says_blocked "$@"
}

# The same for clients that end with 0 after an error.
refused_quietly() {
    run_refused ends "$@"
    says_blocked "$@"
}

# The error comes from inside, as on a network without such a host or server, and needs no line of ours.
refused_by_client() {
    run_refused fails "$@"
}

# With the flag that would allow it, unless a flag denies it or the program lied.
says_blocked() {
    grep -q '^zerobox: blocked: ' "$place/output" && grep -q '^hint: --allow-net=\|(`--deny-net=\|: fronting: ' "$place/output" && return
    printf 'Zerobox does not say what it blocked and why: %s\n' "$*"
    cat "$place/output"
    return 1
}

# `pairs PORT-VARIABLE NAME-PATTERN PORT-PATTERN COMMAND...`, which greets web.test on this port: it works with a rule
# for the name, and fails with one for another name, with one for another port, and without any.
pairs() {
    local port=${!1} name_pattern=$2 port_pattern=$3
    shift 3
    works 'hello from web.test' --allow-net=web.test:$port -- "$@"
    refused "$name_pattern" --allow-net=other.test -- "$@"
    refused_quietly "$port_pattern" --allow-net=web.test:1 -- "$@"
    refused_by_client "$name_pattern|unreachable|onnect" -- "$@"
}

await_port() {
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        (: < /dev/tcp/127.0.0.1/"$1") 2> /dev/null && return
        sleep 0.05
    done
    echo "nobody listens on port $1"
    return 1
}

# A sandbox in the background, which `stop_box` ends.
start_box() {
    "$zerobox" "${pins[@]}" "$@" > box.log 2>&1 < /dev/null &
    boxed=$!
    servers+=($boxed)
}

stop_box() {
    kill $boxed
    wait $boxed || true
}

ask_until_up() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        curl -sS --noproxy '*' --max-time 5 "$1" 2> curl.log && return
        sleep 0.1
    done
    cat curl.log box.log >&2
    return 1
}

# What every check has: the clients, and the names of the servers.
surround() {
    cp "$clients"/* "$shared/ca.pem" .
    # The package managers are the ones that may need this machine's own proxy.
    case $1 in npm | pip | cargo) ;; *) unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy NO_PROXY no_proxy ;; esac
    pins=()
    local port host
    for port in $http $https $h2c; do
        for host in web.test other.test deep.sub.test sub.test; do pin $host $port; done
    done
    pin mail.test $smtp
    [ -z "$grpc" ] || { pin rpc.test $grpc; pin rpc.test $grpc_clear; }
    [ -z "$postgres" ] || pin db.test $postgres
}

# ---- the servers -------------------------------------------------------------------------------------------------

set_up() {
    # The system's Python is the one that has the distribution's libraries.
    python=$(command -v /usr/bin/python3 || command -v python3) || { echo 'not installed: python3'; return 1; }
    shared=$work/shared
    export python shared
    mkdir -p "$shared/git"
    certificates web.test other.test sub.test '*.sub.test' mail.test rpc.test db.test far.test > "$work/log" 2>&1 || { cat "$work/log"; return 1; }
    repository "$work/sample" "$shared/git/sample.git" > "$work/log" 2>&1 || { cat "$work/log"; return 1; }
    command -v node > /dev/null || { echo 'not installed: node'; return 1; }
    node "$clients/web_server.js" "$shared" &
    servers+=($!)
    "$python" "$clients/smtp_server.py" "$shared" &
    servers+=($!)
    grpc='' grpc_clear='' postgres=''
    if "$python" -c 'import grpc' 2> /dev/null; then
        "$python" "$clients/grpc_pair.py" serve "$shared" 2> "$work/grpc.log" &
        servers+=($!)
        port_of grpc && port_of grpc_clear || return
    fi
    port_of http && port_of https && port_of h2c && port_of smtp || return
    start_postgres > "$work/postgres.log" 2>&1 || { postgres=; tail -n 3 "$work/postgres.log" | sed 's/^/    PostgreSQL: /'; }
    export http https h2c smtp grpc grpc_clear postgres
}

# It refuses root and uids without an account.
start_postgres() {
    local as=() bin
    bin=$(echo /usr/lib/postgresql/*/bin | tr ' ' '\n' | tail -n 1)
    [ -x "$bin/initdb" ] || return
    if [ "$(id -u)" = 0 ]; then
        as=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
    fi
    mkdir -p "$work/postgres"
    chmod 777 "$work/postgres"
    read -r postgres < <("$python" "$clients/client.py" free-ports 1)
    cd "$work/postgres" || return
    "${as[@]}" "$bin/initdb" -D data -U tester --no-sync -A trust &&
        "${as[@]}" cp "$shared/cert.pem" data/server.crt && "${as[@]}" cp "$shared/key.pem" data/server.key &&
        "${as[@]}" chmod 600 data/server.key || return
    cd - > /dev/null || return
    "${as[@]}" "$bin/postgres" -D "$work/postgres/data" -c listen_addresses=127.0.0.1 -c port="$postgres" -c ssl=on \
        -c unix_socket_directories= -c fsync=off &
    servers+=($!)
    await_port "$postgres"
}

frame "$@"
