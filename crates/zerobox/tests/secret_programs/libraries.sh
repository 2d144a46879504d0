#!/bin/bash
# Libraries of clients, in versions that the distribution has not: for the system's Python and for node.
#
#   libraries.sh DIRECTORY
#
# Once for each directory: what did not answer the first time is not waited for again.

set -eu
[ ! -e "$1/bin" ] || exit 0
python=$(command -v /usr/bin/python3 || command -v python3)
timeout 60 "$python" -m venv "$1"
timeout 240 "$1/bin/pip" install -q requests 'httpx[http2]' aiohttp boto3 openai
timeout 120 npm install --prefix "$1" --silent --no-audit --no-fund --no-update-notifier ws openai
