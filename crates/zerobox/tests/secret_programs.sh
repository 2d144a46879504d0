#!/bin/bash
# Real clients with secrets that they never have, and under rules about requests: the acceptance test of `--secret`,
# `--secret-file`, `--allow-http` and `--deny-http`.
#
#   secret_programs.sh [ZEROBOX [NAME...]]
#
# The servers are on this machine's loopback behind names of tests, with certificates of a test authority which
# `--upstream-ca` names, and write down what they received. Every check shows that the real value arrived, and that the
# sandbox never had it: not in an environment, an argument, a file or an answer, nor did we print it. Libraries come from
# the package indexes of this machine, or from ZEROBOX_TEST_LIBRARIES, where an earlier run has put them. What it prints
# and as whom it runs: programs_frame.sh. A skip that `secret_programs/skips.txt` does not list is a failure.

set -u
source "$(dirname "$(readlink -f "$0")")/programs_frame.sh"

checks="control curl-header curl-basic curl-netrc curl-query curl-cookie curl-json curl-form curl-uploads curl-download
curl-answers curl-events curl-pool-of-hosts memory sources shapes limit git git-helper node-fetch node-https node-ws
node-openai python-requests python-httpx python-aiohttp python-openai boto3 npm static-rust go java grpc http-rules
http-rules-git wrong-host wrong-certificate"
named_checks=""

# ---- the checks --------------------------------------------------------------------------------------------------

# What the other checks find nothing with finds what is there.
check_control() {
    needs curl
    works 'hello from api.test' --allow-net=api.test --env API_KEY=$API_KEY -- \
        bash watched.sh curl -sS --cacert ca.pem -H "X-Api-Key: $API_KEY" https://api.test:$https/
    arrived "\"x-api-key\":\"$API_KEY\""
    local place_of
    for place_of in seen "$place/output"; do grep -aqFf "$needles" "$place_of"; done
    # In the environment of more than one process.
    [ "$(tr '\0' '\n' < seen | grep -acF "API_KEY=$API_KEY")" -ge 2 ]
    # Also where it is encoded.
    works 'hello from api.test' --allow-net=api.test -- \
        bash watched.sh curl -sS --cacert ca.pem -u "user:$API_KEY" https://api.test:$https/
    grep -aqF "$(printf 'user:%s' "$API_KEY" | base64 -w 0)" "$place/output"
    printf 'Basic %s\n' "$(printf 'someone:%s' "$API_KEY" | base64 -w 0)" | grep -cFf "$needles"
    percent "$SYMBOLS" | grep -cFf "$needles"
}

check_curl-header() {
    needs curl
    local version
    for version in --http1.1 --http2; do
        with_key '^hello from api.test' curl -sS $version -H 'Authorization: Bearer $API_KEY' https://api.test:$https/
        arrived "\"authorization\":\"Bearer $API_KEY\""
        with_key '^hello from api.test' curl -sS $version -H 'X-Api-Key: $API_KEY' https://api.test:$https/a https://api.test:$https/b
        arrived '"path":"/b"' "\"x-api-key\":\"$API_KEY\""
    done
    # What is written down of it.
    grep -E '"event":"secret","name":"API_KEY","host":"api.test","port":'$https',"method":"GET","path":"/b","status":200' "$place/events"
    arrived '"version":"2.0"'
    # To a server of this machine, whatever it is called; in clear if it is named with its port.
    local url
    for url in http://localhost:$http http://127.0.0.1:$http https://localhost:$https; do
        sent '^hello from (localhost|127)' --secret API_KEY --secret-host API_KEY=localhost:${url##*:} -- \
            curl -sS -H 'X-Api-Key: $API_KEY' $url/
        arrived "\"x-api-key\":\"$API_KEY\""
    done
    # To a name in clear only if that is said.
    not_sent --secret API_KEY --secret-host API_KEY=api.test:$http -- \
        curl -sS --fail-with-body -H 'X-Api-Key: $API_KEY' http://api.test:$http/
    sent '^hello from api.test' --secret API_KEY --secret-host API_KEY=api.test:$http --secret-plaintext API_KEY -- \
        curl -sS -H 'X-Api-Key: $API_KEY' http://api.test:$http/
    arrived "\"x-api-key\":\"$API_KEY\""
}

check_curl-basic() {
    needs curl
    with_key '^hello from api.test' curl -sS -u 'tester:$API_KEY' https://api.test:$https/
    arrived "\"basic\":\"tester:$API_KEY\""
    with_key '^hello from api.test' curl -sS --http1.1 -u '$API_KEY:' https://api.test:$https/
    arrived "\"basic\":\"$API_KEY:\""
    with_key '^hello from api.test' curl -sS 'https://user:$API_KEY@api.test:'$https/
    arrived "\"basic\":\"user:$API_KEY\""
}

check_curl-netrc() {
    needs curl
    printf 'machine other.test login other password unrelated\nmachine api.test login tester password %s\n' "$API_KEY" > "$HOME/.netrc"
    sent '^hello from api.test' --secret-file ~/.netrc --secret-host ~/.netrc=api.test:$https -- curl -sS -n https://api.test:$https/
    arrived "\"basic\":\"tester:$API_KEY\""
    # The file is as it was.
    grep -q "$API_KEY" "$HOME/.netrc"
    not_sent --secret-file ~/.netrc --secret-host ~/.netrc=api.test:$https --allow-write=~ -- \
        bash -c "echo changed >> '$HOME/.netrc' || exit 1"
    ! grep changed "$HOME/.netrc"
}

check_curl-query() {
    needs curl
    with_key '^hello from api.test' curl -sS 'https://api.test:'$https'/find?a=b&key=$API_KEY&c=d'
    arrived "\"path\":\"/find?a=b&key=$API_KEY&c=d\""
    with_key '^hello from api.test' curl -sS 'https://api.test:'$https'/bot$API_KEY/send'
    arrived "\"path\":\"/bot$API_KEY/send\""
    # What means something in a URL is written so that it does not.
    sent '^hello from api.test' --secret SYMBOLS --secret-host SYMBOLS=api.test:$https -- \
        curl -sS -G --data-urlencode 'key=$SYMBOLS' https://api.test:$https/
    arrived "key=$(percent "$SYMBOLS")\""
}

check_curl-cookie() {
    needs curl
    with_key '^hello from api.test' curl -sS -b 'a=b; session=$API_KEY' https://api.test:$https/
    arrived "\"cookie\":\"a=b; session=$API_KEY\""
}

check_curl-json() {
    needs curl
    local body='{"key": "$API_KEY", "more": "text"}' version
    for version in --http1.1 --http2; do
        with_key '^hello from api.test' --secret-in API_KEY=body -- curl -sS $version --json "$body" https://api.test:$https/
        arrived "{\\\"key\\\": \\\"$API_KEY\\\", \\\"more\\\": \\\"text\\\"}"
    done
    # Not in a body unless that is said: the placeholder stays.
    with_key '^hello from api.test' curl -sS --json "$body" https://api.test:$https/
    arrived '"path":"/"' sk-proj-
    [ "$(arrivals "$API_KEY")" = 0 ]
}

check_curl-form() {
    needs curl
    with_key '^hello from api.test' --secret-in API_KEY=body -- curl -sS -d 'a=b' --data-urlencode 'key=$API_KEY' -d c=d https://api.test:$https/
    arrived "\"body\":\"a=b&key=$API_KEY&c=d\""
    sent '^hello from api.test' --secret SYMBOLS --secret-host SYMBOLS=api.test:$https --secret-in SYMBOLS=body -- \
        curl -sS --data-urlencode 'key=$SYMBOLS' https://api.test:$https/
    arrived "\"body\":\"key=$(percent "$SYMBOLS")\""
}

check_curl-uploads() {
    needs curl sha256sum
    head -c 3000000 /dev/urandom > upload
    local sum version
    sum=$(sha256sum < upload | cut -d' ' -f1)
    for version in --http1.1 --http2; do
        with_key "$sum" curl -sS $version -H 'X-Api-Key: $API_KEY' -T upload https://api.test:$https/sha256
        arrived "\"x-api-key\":\"$API_KEY\""
        with_key "$sum" curl -sS $version -H 'X-Api-Key: $API_KEY' -H 'Transfer-Encoding: chunked' -T upload https://api.test:$https/sha256
        arrived "\"x-api-key\":\"$API_KEY\""
    done
    with_key "$sum" curl -sS --http1.1 -H 'X-Api-Key: $API_KEY' -H 'Expect: 100-continue' --expect100-timeout 20 -T upload https://api.test:$https/sha256
    arrived "\"x-api-key\":\"$API_KEY\"" '"expect":"100-continue"'
}

check_curl-download() {
    needs curl sha256sum
    local size=5000000 sum version
    sum=$(curl -sS --noproxy '*' http://127.0.0.1:$http/bytes/$size | sha256sum | cut -d' ' -f1)
    for version in --http1.1 --http2; do
        with_key '^200 5000000$' curl -sS $version -H 'X-Api-Key: $API_KEY' -o downloaded -w '%{http_code} %{size_download}' https://api.test:$https/bytes/$size
        arrived "\"x-api-key\":\"$API_KEY\""
        [ "$(sha256sum < downloaded | cut -d' ' -f1)" = "$sum" ]
        rm downloaded
    done
}

# Every answer above repeats what the server has seen; these are compressed.
check_curl-answers() {
    needs curl
    local coding version
    for coding in gzip br deflate; do
        for version in --http1.1 --http2; do
            with_key '^hello from api.test' curl -sS $version --compressed -i -H 'Authorization: Bearer $API_KEY' "https://api.test:$https/?coding=$coding"
            arrived "\"authorization\":\"Bearer $API_KEY\""
            grep -aqE '^x-repeated: Bearer sk-proj-' "$place/output"
        done
        curl --version | grep -c brotli || break
    done
}

check_curl-events() {
    needs curl
    with_key '^4 alone$' "$python" client.py events https://api.test:$https/events
    arrived "\"authorization\":\"Bearer $API_KEY\""
    cat > events.sh << 'SCRIPT'
before=${EPOCHREALTIME/./} alone=0
while read -r line; do
    case $line in data:*) ;; *) continue ;; esac
    now=${EPOCHREALTIME/./}
    [ $((now - before)) -lt 150000 ] || alone=$((alone + 1))
    before=$now
done < <(curl -sSN "$1" -H "Authorization: Bearer $API_KEY" "$2")
echo "$alone alone"
SCRIPT
    local version
    for version in --http1.1 --http2; do
        with_key '^4 alone$' bash events.sh $version https://api.test:$https/events
        arrived "\"authorization\":\"Bearer $API_KEY\""
    done
}

# One client, a key for each host, and one host with none.
check_curl-pool-of-hosts() {
    needs curl
    sent '^hello from open.test' $key_flags --secret GH_TOKEN --secret-host GH_TOKEN=git.test:$https --allow-net=open.test -- \
        curl -sS -H 'X-Api-Key: $API_KEY' https://api.test:$https/ --next -sS -H 'X-Api-Key: $GH_TOKEN' https://git.test:$https/ \
        --next -sS --cacert ca.pem https://open.test:$https/
    arrived '"host":"api.test"' "\"x-api-key\":\"$API_KEY\""
    arrived '"host":"git.test"' "\"x-api-key\":\"$GH_TOKEN\""
    arrived '"host":"open.test"'
}

# Not even in the memory of the client.
check_memory() {
    local size
    with_key 'hello from api.test' "$python" client.py memory https://api.test:$https/
    arrived "\"authorization\":\"Bearer $API_KEY\""
    size=$(stat -c %s "$place/output")
    [ "$size" -gt 1000000 ]
    # The look finds what is in memory.
    grep -aq 'Authorization' "$place/output"
}

check_sources() {
    needs curl
    printf '%s\n' "$API_KEY" > "$place/key"
    local source
    for source in env:API_KEY "file:$place/key" "cmd:cat '$place/key'"; do
        sent '^hello from api.test' --secret "KEY=$source" --secret-host KEY=api.test:$https -- \
            curl -sS -H 'Authorization: Bearer $KEY' https://api.test:$https/
        arrived "\"authorization\":\"Bearer $API_KEY\""
    done
    sent '^hello from api.test' --secret "KEY=$API_KEY" --secret-host KEY=api.test:$https -- \
        curl -sS -H 'Authorization: Bearer $KEY' https://api.test:$https/
    arrived "\"authorization\":\"Bearer $API_KEY\""
    grep -q '^zerobox: .* was an argument' "$place/errors"
}

# A client may look at the shape of its key.
check_shapes() {
    local name
    for name in API_KEY:^sk-proj- GH_TOKEN:^ghp_[A-Za-z0-9]{36}$ JWT:^eyJ AWS_ACCESS_KEY_ID:^AKIA[A-Z0-9]{16}$; do
        works '^fits$' --secret "${name%%:*}" --secret-host "${name%%:*}=api.test" -- \
            bash -c '[[ ${!1} =~ $2 ]] && [ ${#1} -gt 0 ] && echo fits' bash "${name%%:*}" "${name#*:}"
    done
    works "^${#JWT} HS256$" --secret JWT --secret-host JWT=api.test -- "$python" -c '
import base64, json, os
head, body, signature = os.environ["JWT"].split(".")
assert json.loads(base64.urlsafe_b64decode(body + "=="))
print(len(os.environ["JWT"]), json.loads(base64.urlsafe_b64decode(head + "=="))["alg"])'
}

check_limit() {
    needs curl
    box $key_flags --secret-limit API_KEY=2 -- bash -c \
        "for _ in 1 2 3; do curl -sS -o answer -w '%{http_code} ' -H \"X-Api-Key: \$API_KEY\" https://api.test:$https/; done" > "$place/output" 2> "$place/errors"
    clean_words
    [ "$(arrivals "\"x-api-key\":\"$API_KEY\"")" = 2 ]
    grep -E '^200 200 (403|429) $' "$place/output"
}

check_git() {
    needs git
    printf 'https://tester:%s@git.test:%s\n' "$GH_TOKEN" $https > "$HOME/.git-credentials"
    local git='git -c credential.helper=store -c user.name=Tester -c user.email=tester@example.com'
    local flags="--secret-file $HOME/.git-credentials --secret-host $HOME/.git-credentials=git.test:$https"
    own_repository
    sent '' $flags -- $git clone -q https://git.test:$https/git/$repository clone
    arrived "\"basic\":\"tester:$GH_TOKEN\""
    [ "$(cat clone/file)" = content ]
    head -c 3000000 /dev/urandom > clone/large
    sent '' $flags -- bash -c "cd clone && $git add large && $git commit -q -m large && $git push -q origin HEAD:refs/heads/pushed"
    arrived '"path":"/git/'$repository'/git-receive-pack"' "\"basic\":\"tester:$GH_TOKEN\""
    sent refs/heads/pushed $flags -- $git ls-remote https://git.test:$https/git/$repository
    # Without the secret there is nothing to show.
    rm "$HOME/.git-credentials"
    run_refused fails 'Authentication failed|could not read Username' --allow-net=git.test -- \
        env GIT_TERMINAL_PROMPT=0 $git -c http.sslCAInfo=ca.pem ls-remote https://git.test:$https/git/$repository
}

check_git-helper() {
    needs git
    local helper='!f() { echo username=tester; echo "password=$GH_TOKEN"; }; f'
    own_repository
    sent '' --secret GH_TOKEN --secret-host GH_TOKEN=git.test:$https -- \
        git -c "credential.helper=${helper//\$/\\\$}" clone -q https://git.test:$https/git/$repository clone
    arrived "\"basic\":\"tester:$GH_TOKEN\""
    [ "$(cat clone/file)" = content ]
    # As continuous integration does it.
    sent refs/heads/main --secret GH_TOKEN --secret-host GH_TOKEN=git.test:$https -- \
        git ls-remote 'https://tester:$GH_TOKEN@git.test:'$https/git/$repository
    arrived "\"basic\":\"tester:$GH_TOKEN\""
}

check_node-fetch() {
    needs node
    with_key '^200 hello from api.test' node client.js fetch https://api.test:$https/
    arrived "\"authorization\":\"Bearer $API_KEY\"" '"method":"POST"'
    unbound 'status 403|fetch failed' node client.js fetch https://git.test:$https/
}

check_node-https() {
    needs node
    with_key '^hello from api.test' node client.js https https://api.test:$https/
    arrived "\"authorization\":\"Bearer $API_KEY\""
    unbound 'status 403' node client.js https https://git.test:$https/
}

check_node-ws() {
    needs node
    node_has ws
    with_key '^hello three$' node client.js ws wss://api.test:$https/socket
    arrived "\"authorization\":\"Bearer $API_KEY\"" '"upgrade":"websocket"'
    unbound '403' node client.js ws wss://git.test:$https/socket
}

check_node-openai() {
    needs node
    node_has openai
    with_key '^4 alone$' node client.js openai https://api.test:$https/v1
    arrived "\"authorization\":\"Bearer $API_KEY\"" '\"stream\":true'
    unbound '403' node client.js openai https://git.test:$https/v1
}

check_python-requests() {
    library requests
    with_key '^hello from api.test' --secret-in API_KEY=header,basic,query,body -- "$libraries/bin/python" client.py requests https://api.test:$https/
    arrived "\"authorization\":\"Bearer $API_KEY\"" "{\\\"key\\\": \\\"$API_KEY\\\""
    arrived "\"path\":\"/?key=$API_KEY\"" "\"basic\":\"user:$API_KEY\"" "\"cookie\":\"session=$API_KEY\""
    unbound '403' "$libraries/bin/python" client.py requests https://git.test:$https/
}

check_python-httpx() {
    library httpx
    with_key '^200 hello from api.test' --secret-in API_KEY=header,body -- "$libraries/bin/python" client.py httpx https://api.test:$https/
    arrived '"version":"1.1"' "\"authorization\":\"Bearer $API_KEY\"" "\"body\":\"key=$API_KEY\""
    arrived '"version":"2.0"' "\"authorization\":\"Bearer $API_KEY\"" "\"body\":\"key=$API_KEY\""
    unbound '403' "$libraries/bin/python" client.py httpx https://git.test:$https/
}

check_python-aiohttp() {
    library aiohttp
    with_key '^hello word' "$libraries/bin/python" client.py aiohttp https://api.test:$https/
    [ "$(arrivals "\"authorization\":\"Bearer $API_KEY\"")" = 11 ]
    unbound '403' "$libraries/bin/python" client.py aiohttp https://git.test:$https/
}

check_python-openai() {
    library openai
    with_key '^4 alone$' "$libraries/bin/python" client.py openai https://api.test:$https/v1
    arrived "\"authorization\":\"Bearer $API_KEY\"" '\"stream\":true'
}

check_boto3() {
    library boto3
    local client="$libraries/bin/python client.py boto3" keys='--secret AWS_ACCESS_KEY_ID --secret AWS_SECRET_ACCESS_KEY'
    local bound="--secret-host AWS_ACCESS_KEY_ID=s3.test:$https --secret-host AWS_SECRET_ACCESS_KEY=s3.test:$https"
    sent '^presigned content$' $keys $bound -- $client https://s3.test:$https
    arrived "Credential=$AWS_ACCESS_KEY_ID/" '"x-amz-content-sha256":"STREAMING-UNSIGNED-PAYLOAD-TRAILER"'
    arrived "X-Amz-Credential=$AWS_ACCESS_KEY_ID%2F"
    # The server is one that knows a wrong signature.
    if box --allow-net=s3.test --env AWS_CA_BUNDLE=ca.pem --env AWS_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID --env AWS_SECRET_ACCESS_KEY=wrong -- \
        $client https://s3.test:$https > "$place/output" 2>&1; then
        echo 'a wrong key was taken'
        return 1
    fi
    grep SignatureDoesNotMatch "$place/output"
    # A file, of which the name of the key is no secret.
    mkdir "$HOME/.aws"
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$OPEN_KEY_ID" "$AWS_SECRET_ACCESS_KEY" > "$HOME/.aws/credentials"
    sent '^presigned content$' --secret-file ~/.aws/credentials --secret-host ~/.aws/credentials=s3.test:$https -- $client https://s3.test:$https
    arrived "Credential=$OPEN_KEY_ID/"
}

check_npm() {
    needs node npm
    printf 'registry=https://npm.test:%s/npm/\n//npm.test:%s/npm/:_authToken=%s\n' $https $https "$NPM_TOKEN" > "$HOME/.npmrc"
    local flags="--secret-file $HOME/.npmrc --secret-host $HOME/.npmrc=npm.test:$https" name=sample-$label
    local npm='npm --no-audit --no-fund --no-update-notifier --fetch-retries=0'
    sent '^tester$' $flags -- $npm whoami
    arrived '"path":"/npm/-/whoami"' "\"authorization\":\"Bearer $NPM_TOKEN\""
    mkdir package
    echo "{ \"name\": \"$name\", \"version\": \"1.0.0\", \"main\": \"index.js\" }" > package/package.json
    echo 'module.exports = 1;' > package/index.js
    sent "^\+ $name@1.0.0" $flags -- $npm publish ./package
    arrived '"method":"PUT"' "\"path\":\"/npm/$name\"" "\"authorization\":\"Bearer $NPM_TOKEN\""
    sent '^1.0.0$' $flags -- $npm view $name version
    arrived "\"path\":\"/npm/$name\"" "\"authorization\":\"Bearer $NPM_TOKEN\""
    # In a variable that the project's own file names.
    rm "$HOME/.npmrc"
    printf 'registry=https://npm.test:%s/npm/\n//npm.test:%s/npm/:_authToken=${NPM_TOKEN}\n' $https $https > .npmrc
    sent '^tester$' --secret NPM_TOKEN --secret-host NPM_TOKEN=npm.test:$https -- $npm whoami
    arrived "\"authorization\":\"Bearer $NPM_TOKEN\""
}

check_static-rust() {
    needs rustc
    rustc --edition 2021 -C target-feature=+crt-static -o client client.rs
    sent '^hello from localhost' --secret API_KEY --secret-host API_KEY=localhost:$http -- ./client localhost $http
    arrived "\"x-api-key\":\"$API_KEY\""
    not_sent --secret API_KEY --secret-host API_KEY=api.test:$http -- bash -c "./client api.test $http | grep '^hello'"
}

check_go() {
    needs go
    CGO_ENABLED=0 GOFLAGS=-mod=mod GOCACHE=$HOME/go-build go build -o client client.go
    with_key '^hello from api.test' ./client https://api.test:$https/
    arrived "\"authorization\":\"Bearer $API_KEY\""
}

check_java() {
    needs java javac
    javac Client.java
    box $key_flags -- java -XX:TieredStopAtLevel=1 -cp . Client https://api.test:$https/ > "$place/output" 2>&1 ||
        ! grep -a 'PKIX path building failed' "$place/output" || skip 'Java has authorities of its own'
    with_key '^hello from api.test' java -Xshare:auto -XX:TieredStopAtLevel=1 -cp . Client https://api.test:$https/
    arrived "\"authorization\":\"Bearer $API_KEY\""
}

check_grpc() {
    python_has grpc
    with_key '^hello ' "$python" client.py grpc api.test:$https
    arrived '"path":"/test.Echo/Once"' "\"x-api-key\":\"$API_KEY\""
    arrived '"path":"/test.Echo/Stream"' "\"x-api-key\":\"$API_KEY\""
    grep -q '^abc$' "$place/output"
    grep -qE 'key sk-proj-' "$place/output"
    unbound 'PERMISSION_DENIED|UNKNOWN|UNAVAILABLE' "$python" client.py grpc git.test:$https
}

# ---- rules about requests ----------------------------------------------------------------------------------------

check_http-rules() {
    needs curl
    local rule="GET https://api.test:$https/repos/acme/**" url=https://api.test:$https
    works 'hello from api.test' --allow-http "$rule" -- curl -sS $url/repos/acme/site/readme
    arrived '"path":"/repos/acme/site/readme"'
    local refused
    for refused in $url/repos/other/site "-X DELETE $url/repos/acme/site" "--path-as-is $url/repos/acme/../other/site" \
        "--path-as-is $url/repos/acme/%2e%2e/other" "-d x $url/repos/acme/site" "--http1.1 $url/repos/other/site"; do
        run_refused fails '403|400' --allow-http "$rule" -- curl -sS --fail-with-body $refused
        says_rule
        [ "$(arrivals '"')" = 0 ]
    done
    # To a program in its own words.
    run_refused ends '"(error|message|reason|hint)":' --allow-http "$rule" -- curl -sS -H 'Accept: application/json' -o answer -w '%{http_code} %{content_type}\n' $url/user --next -sS file://$PWD/answer
    grep -E '^403 application/json' "$place/output"
    "$python" -c 'import json; print(json.load(open("answer")))'
    grep -- --allow-http answer
    # A deny beats, also without a host; a method of several.
    works 'hello' --allow-http "GET,POST $url/**" --deny-http 'GET **/secrets/**' -- curl -sS -d x $url/repos/acme/secrets/one
    run_refused fails 403 --allow-http "GET,POST $url/**" --deny-http 'GET **/secrets/**' -- curl -sS --fail-with-body $url/repos/acme/secrets/one
    run_refused fails 403 --allow-http "$rule" --deny-http "GET $url/repos/acme/hidden" -- curl -sS --fail-with-body $url/repos/acme/hidden
    [ "$(arrivals '"')" = 0 ]
    # With a secret: only on the requests that are allowed.
    sent '^hello from api.test' $key_flags --allow-http "$rule" -- curl -sS -H 'X-Api-Key: $API_KEY' $url/repos/acme/x
    arrived "\"x-api-key\":\"$API_KEY\""
    not_sent $key_flags --allow-http "$rule" -- curl -sS --fail-with-body -H 'X-Api-Key: $API_KEY' $url/user
}

check_http-rules-git() {
    needs git
    own_repository
    local url=https://git.test:$https/git flags="--secret GH_TOKEN --secret-host GH_TOKEN=git.test:$https"
    local git='git -c user.name=Tester -c user.email=tester@example.com'
    local read=(--allow-http "GET $url/$repository/info/refs?service=git-upload-pack" --allow-http "POST $url/$repository/git-upload-pack")
    sent '' $flags "${read[@]}" -- git clone -q 'https://tester:$GH_TOKEN@git.test:'$https/git/$repository clone
    [ "$(cat clone/file)" = content ]
    run_refused fails '403' $flags "${read[@]}" -- bash -c "cd clone && $git commit -q --allow-empty -m empty && $git push -q origin HEAD:refs/heads/refused"
    says_rule
    run_refused fails '403' $flags "${read[@]}" -- bash -c "git ls-remote https://tester:\$GH_TOKEN@git.test:$https/git/other.git"
    sent 'refs/heads/main' $flags --allow-http "* $url/**" -- git ls-remote 'https://tester:$GH_TOKEN@git.test:'$https/git/$repository
}

# ---- where a secret does not go ----------------------------------------------------------------------------------

check_wrong-host() {
    needs curl
    unbound '403' curl -sS --fail-with-body -H 'X-Api-Key: $API_KEY' https://git.test:$https/
    unbound '403' curl -sS --fail-with-body --http1.1 -u 'user:$API_KEY' https://git.test:$https/
    unbound '403' curl -sS --fail-with-body 'https://git.test:'$https'/?key=$API_KEY'
    # Behind a redirect, which curl follows with this header.
    run_refused fails 403 $key_flags --secret GH_TOKEN --secret-host GH_TOKEN=git.test:$https -- bash -c \
        "curl -sS --fail-with-body -L -H \"X-Api-Key: \$API_KEY\" https://api.test:$https/redirect?https://git.test:$https/"
    arrived '"host":"api.test"' "\"x-api-key\":\"$API_KEY\""
    [ "$(arrivals '"host":"git.test"')" = 0 ]
    # Another name above the connection to the right one.
    not_sent $key_flags -- curl -sS --fail-with-body -H 'Host: other.test' -H 'X-Api-Key: $API_KEY' https://api.test:$https/
    # In clear to a host that nothing is bound to.
    not_sent $key_flags --allow-net=open.test -- curl -sS --fail-with-body -H 'X-Api-Key: $API_KEY' http://open.test:$http/
}

check_wrong-certificate() {
    needs curl
    # A name that the certificate does not have, and an authority that nobody trusts.
    pin stranger.test $https
    not_sent --secret API_KEY --secret-host API_KEY=stranger.test:$https -- curl -sSk --fail-with-body -H 'X-Api-Key: $API_KEY' https://stranger.test:$https/
    grep -aE '^zerobox: .*stranger.test' "$place/errors"
    authority=
    not_sent $key_flags -- curl -sSk --fail-with-body -H 'X-Api-Key: $API_KEY' https://api.test:$https/
    grep -aE '^zerobox: .*api.test' "$place/errors"
}

# ---- how they are run --------------------------------------------------------------------------------------------

# Every run: the names, the authority, the events, and neither the servers' notes nor the values in reach.
box() {
    received_before=$(stat -c %s "$shared/received" 2> /dev/null || echo 0)
    rm -f "$place/events" seen
    timeout -k 5 60 "$zerobox" "${pins[@]}" ${authority:+--upstream-ca="$authority"} --events "$place/events" \
        --deny-read="$shared" --allow-read="$libraries" --allow-write=. --env NODE_PATH="$NODE_PATH" "$@"
}

# `sent PATTERN FLAGS -- COMMAND`: it works, and nothing inside had a value. `$NAME` in a word of the command is the
# variable inside.
sent() {
    local pattern=$1 flags=() words
    shift
    while [ "$1" != -- ]; do flags+=("$1") && shift; done
    shift
    words=$(quoted "$@")
    works "$pattern" "${flags[@]}" -- bash watched.sh bash -c "$words"
    clean
}

# `with_key PATTERN [FLAGS --] COMMAND`: the same with the key of api.test.
with_key() {
    local pattern=$1
    shift
    case $1 in
        --*) sent "$pattern" $key_flags "$@" ;;
        *) sent "$pattern" $key_flags -- "$@" ;;
    esac
}

# `not_sent FLAGS -- COMMAND`: it fails, and neither the servers nor the sandbox had a value.
not_sent() {
    local flags=() status=0
    while [ "$1" != -- ]; do flags+=("$1") && shift; done
    shift
    box "${flags[@]}" -- bash watched.sh bash -c "$(quoted "$@")" > "$place/output" 2> "$place/errors" < /dev/null || status=$?
    clean
    if [ $status = 0 ] || [ $status = 124 ] || received | grep -aFf "$needles" > found; then
        printf 'was sent, or did not fail (status %s): %s\n' $status "$*"
        received
        cat "$place/output" "$place/errors"
        return 1
    fi
}

# `unbound PATTERN COMMAND`: the client with API_KEY, which is for api.test, asks git.test, which has a secret of its own.
unbound() {
    local pattern=$1
    shift
    not_sent $key_flags --secret GH_TOKEN --secret-host GH_TOKEN=git.test:$https -- "$@"
    grep -aqE -e "$pattern" "$place/output" "$place/errors" && grep -aq '^zerobox: blocked: .*API_KEY' "$place/errors" && return
    printf 'is not told (/%s/), or we do not say it: %s\n' "$pattern" "$*"
    cat "$place/output" "$place/errors"
    return 1
}

# Words for a shell in which variables are put in and nothing else happens.
quoted() {
    local word
    for word in "$@"; do
        word=${word//\\\$/$'\1'}
        word=${word//\\/\\\\} word=${word//\"/\\\"} word=${word//\`/\\\`}
        printf '"%s" ' "${word//$'\1'/\\\$}"
    done
}

percent() {
    "$python" -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$1"
}

# What the servers wrote down since the last run began.
received() {
    tail -c +$((received_before + 1)) "$shared/received"
}

# `arrived TEXT...`: one request had all of these.
arrived() {
    [ "$(arrivals "$@")" -gt 0 ] && return
    printf 'did not arrive:'
    printf ' %s' "$@"
    echo
    received
    return 1
}

arrivals() {
    local lines text
    lines=$(received)
    for text in "$@"; do lines=$(grep -aF -e "$text" <<< "$lines") || true; done
    grep -c . <<< "$lines" || true
}

# The look has found something to look at, and no value.
clean() {
    # No `grep -q` behind a pipe: it would end what writes into it.
    if ! tr '\0' '\n' < seen | grep -a '^ZEROBOX=1$' > found; then
        echo 'the environment inside was not seen'
        return 1
    fi
    clean_words seen
}

clean_words() {
    local file
    for file in "$@" "$place/output" "$place/errors" "$place/events"; do
        if [ -e "$file" ] && grep -aqFf "$needles" "$file"; then
            echo "a value is in $file:"
            grep -aoFf "$needles" "$file" | sort | uniq -c
            return 1
        fi
    done
}

says_rule() {
    grep -aq '^zerobox: blocked: ' "$place/output" && return
    echo 'Zerobox does not say what it blocked:'
    cat "$place/output"
    return 1
}

# A repository of this check's own.
own_repository() {
    repository=$label-$RANDOM$RANDOM.git
    # The servers' directory belongs to whoever started them.
    curl -sS --noproxy '*' --fail -X POST "http://127.0.0.1:$http/new/$repository"
}

library() {
    "$libraries/bin/python" -c "import $1" 2> /dev/null || skip "no library $1: $(tail -n 1 "$work/libraries.log")"
}

node_has() {
    [ -d "$NODE_PATH/$1" ] || skip "no library $1: $(tail -n 1 "$work/libraries.log")"
}

surround() {
    cp "$clients"/* "$shared/ca.pem" .
    unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy NO_PROXY no_proxy
    needles=$shared/needles authority=$shared/ca.pem received_before=0
    key_flags="--secret API_KEY --secret-host API_KEY=api.test:$https"
    pins=()
    local port host
    for port in $https $http; do
        for host in api.test git.test npm.test s3.test open.test other.test; do pin $host $port; done
    done
}

# ---- servers and libraries ---------------------------------------------------------------------------------------

set_up() {
    python=$(command -v /usr/bin/python3 || command -v python3) || { echo 'not installed: python3'; return 1; }
    command -v node > /dev/null || { echo 'not installed: node'; return 1; }
    shared=$work/shared
    export python shared
    mkdir -p "$shared/git"
    # Servers that are the same as those of the network's clients.
    cp "$here"/network_programs/{git_backend,websocket,transfers}.js "$clients/" || return
    make_values
    {
        certificates api.test git.test npm.test s3.test open.test other.test localhost &&
            repository "$work/sample" "$shared/git/sample.git" && git -C "$shared/git/sample.git" config http.receivepack true
    } > "$work/log" 2>&1 || { cat "$work/log"; return 1; }
    node "$clients/upstream.js" "$shared" &
    servers+=($!)
    port_of https && port_of http || return
    export https http
    fetch_libraries > "$work/libraries.log" 2>&1 || tail -n 2 "$work/libraries.log"
}

# New ones for each run, of the shapes that keys have, and all the forms in which they might be met.
make_values() {
    local values
    values=$("$python" - "$shared/needles" << 'PYTHON'
import base64, json, secrets, string, sys, urllib.parse
def letters(count, alphabet=string.ascii_letters + string.digits):
    return "".join(secrets.choice(alphabet) for _ in range(count))
part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
values = {
    "API_KEY": "sk-proj-" + letters(48), "GH_TOKEN": "ghp_" + letters(36), "NPM_TOKEN": "npm_" + letters(36),
    "JWT": ".".join([part({"alg": "HS256", "typ": "JWT"}), part({"sub": letters(20)}), base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")]),
    "AWS_ACCESS_KEY_ID": "AKIA" + letters(16, string.ascii_uppercase + "234567"),
    "AWS_SECRET_ACCESS_KEY": letters(18) + "/+" + letters(20), "SYMBOLS": letters(9) + "+/=&%?#;@:" + letters(9),
}
forms = set()
for value in values.values():
    quoted = urllib.parse.quote(value, safe="")
    forms |= {value, quoted, quoted.lower(), value.encode().hex(), json.dumps(value)[1:-1].replace("/", "\\/")}
    for before in range(3):
        # Only what no byte before or behind it has a part in.
        encoded = base64.b64encode(b"." * before + value.encode())
        encoded = encoded[(before * 8 + 5) // 6:(before + len(value)) * 8 // 6].decode()
        forms |= {encoded, encoded.replace("+", "-").replace("/", "_")}
with open(sys.argv[1], "w") as file:
    file.writelines(form + "\n" for form in sorted(forms))
values["OPEN_KEY_ID"] = "AKIA" + letters(16, string.ascii_uppercase + "234567")
print("\n".join(f"export {name}='{value}'" for name, value in values.items()))
PYTHON
    ) && eval "$values"
}

fetch_libraries() {
    libraries=${ZEROBOX_TEST_LIBRARIES:-$work/libraries}
    export libraries NODE_PATH="$libraries/node_modules"
    bash "$clients/libraries.sh" "$libraries"
}

frame "$@"
