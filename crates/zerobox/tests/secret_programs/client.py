"""What programs in Python do with a key, one way each: `client.py WAY ARGUMENTS...`. The key is in API_KEY."""
import asyncio
import os
import sys
import time
import urllib.request

KEY = os.environ.get("API_KEY", "")
HEADERS = {"Authorization": f"Bearer {KEY}"}


def requests_(url):
    import requests

    with requests.Session() as session:
        for _ in range(3):
            reply = session.post(url, headers=HEADERS, json={"key": KEY, "text": "ü"}, timeout=20)
            print(reply.text, reply.headers)
            reply.raise_for_status()
        reply = session.get(url, auth=("user", KEY), params={"key": KEY}, cookies={"session": KEY}, timeout=20)
        reply.raise_for_status()


def httpx_(url):
    import httpx

    for http2 in False, True:
        with httpx.Client(timeout=20, http2=http2, headers=HEADERS) as client:
            reply = client.post(url, data={"key": KEY})
            print(reply.status_code, reply.text, reply.headers)
            reply.raise_for_status()


def aiohttp_(url):
    """Ten requests at once, and a WebSocket."""
    import aiohttp

    async def main():
        async with aiohttp.ClientSession(headers=HEADERS) as session:

            async def one():
                async with session.get(url) as reply:
                    reply.raise_for_status()
                    return await reply.text()

            for text in await asyncio.gather(*(one() for _ in range(10))):
                print(text)
            async with session.ws_connect(url) as socket:
                await socket.send_str("word")
                print("hello", (await socket.receive_str()))

    asyncio.run(main())


def openai_(url):
    import openai

    client = openai.OpenAI(api_key=KEY, base_url=url, max_retries=0)
    messages = [{"role": "user", "content": "one two three four"}]
    print("hello", client.chat.completions.create(model="m", messages=messages).choices[0].message.content)
    alone, before = 0, time.monotonic()
    for chunk in client.chat.completions.create(model="m", messages=messages, stream=True):
        now = time.monotonic()
        alone += bool(chunk.choices[0].delta.content) and now - before > 0.15
        before = now
    print(f"{alone} alone")


def events(url):
    """Server-sent events have to arrive one by one: prints how many came alone."""
    alone, before = 0, time.monotonic()
    with urllib.request.urlopen(urllib.request.Request(url, headers=HEADERS), timeout=20) as reply:
        for line in reply:
            if line.startswith(b"data:"):
                print(line.decode())
                now = time.monotonic()
                alone += now - before > 0.15
                before = now
    print(f"{alone} alone")


def boto3_(url):
    """Objects of one piece, in chunks with a checksum behind them, in several parts of a file, and by a signed URL."""
    import boto3
    from botocore.config import Config

    settings = Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    client = boto3.client("s3", endpoint_url=url, region_name="eu-west-1", config=settings)
    large = bytes(range(256)) * 2000
    client.put_object(Bucket="bucket", Key="plain", Body=b"content", ChecksumSHA256=sha256(b"content"))
    client.put_object(Bucket="bucket", Key="dir/with space+ü", Body=large)
    with open("large", "wb") as file:
        file.write(large)
    with open("large", "rb") as file:
        client.put_object(Bucket="bucket", Key="stream", Body=file)
    client.upload_file("large", "bucket", "file")
    for key in "dir/with space+ü", "stream", "file":
        assert client.get_object(Bucket="bucket", Key=key)["Body"].read() == large, key
    address = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "plain"})
    print("presigned", urllib.request.urlopen(address, timeout=20).read().decode())


def sha256(data):
    import base64
    import hashlib

    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def grpc_(target):
    import grpc

    call = ((("x-api-key", KEY)),)
    with grpc.secure_channel(target, grpc.ssl_channel_credentials()) as channel:
        try:
            reply, done = channel.unary_unary("/test.Echo/Once").with_call(b"hello", metadata=call, timeout=20)
            print(reply.decode(), done.initial_metadata(), done.details())
            words = channel.stream_stream("/test.Echo/Stream")(iter([b"a", b"b", b"c"]), metadata=call, timeout=20)
            print(b"".join(words).decode())
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")


def memory(url):
    """All that this process can write to, when the answer is there: it goes to standard output."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=HEADERS), timeout=20) as reply:
        answer = reply.read()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as mem:
        for line in maps:
            where, rights = line.split()[:2]
            if rights.startswith("rw") and "[v" not in line:
                start, end = (int(number, 16) for number in where.split("-"))
                mem.seek(start)
                sys.stdout.buffer.write(mem.read(end - start) or b"")
    sys.stdout.flush()
    print(answer.decode())


WAYS = {
    "requests": requests_, "httpx": httpx_, "aiohttp": aiohttp_, "openai": openai_, "events": events, "boto3": boto3_,
    "grpc": grpc_, "memory": memory,
}  # fmt: skip

if __name__ == "__main__":
    try:
        WAYS[sys.argv[1]](*sys.argv[2:])
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
