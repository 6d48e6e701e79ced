"""A gRPC peer by grpcio, as `tests/go/cmd/grpcpeer` is one by grpc-go, with the same calls.

`python grpcio_peer.py server|client unix:PATH [TLS_FOLDER]`
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import wrappers_pb2

SERVICE = "test.Test"
PATIENCE_S = 20


def encode(value: bytes) -> bytes:
    return wrappers_pb2.BytesValue(value=value).SerializeToString()


def decode(message: bytes) -> bytes:
    return bytes(wrappers_pb2.BytesValue.FromString(message).value)


def metadata(_: bytes, context: grpc.ServicerContext) -> bytes:
    given = dict(context.invocation_metadata())
    context.send_initial_metadata((("first", "1"), ("raw-bin", b"\0\xff")))
    context.set_trailing_metadata((("last", "2"),))
    return repr((given["who"], given["key-bin"])).encode()


def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
    context.set_trailing_metadata((("why-bin", b"\1"),))
    context.abort(grpc.StatusCode.NOT_FOUND, request.decode())
    raise AssertionError


def hang(_: bytes, context: grpc.ServicerContext) -> bytes:
    over = threading.Event()
    context.add_callback(over.set)
    over.wait(PATIENCE_S)
    return b""


def count(request: bytes, _: grpc.ServicerContext) -> Iterator[bytes]:
    for number in range(int(request)):
        yield str(number).encode()


def blocks(request: bytes, _: grpc.ServicerContext) -> Iterator[bytes]:
    for _number in range(int(request)):
        yield bytes(64 * 1024)


def join(requests: Iterator[bytes], _: grpc.ServicerContext) -> bytes:
    return b"".join(requests)


def turn(requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
    for request in requests:
        yield request[::-1]


def serve(address: str, folder: str) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    kinds = {
        "Echo": grpc.unary_unary_rpc_method_handler(lambda request, _: request, decode, encode),
        "Metadata": grpc.unary_unary_rpc_method_handler(metadata, decode, encode),
        "Fail": grpc.unary_unary_rpc_method_handler(fail, decode, encode),
        "Hang": grpc.unary_unary_rpc_method_handler(hang, decode, encode),
        "Count": grpc.unary_stream_rpc_method_handler(count, decode, encode),
        "Blocks": grpc.unary_stream_rpc_method_handler(blocks, decode, encode),
        "Join": grpc.stream_unary_rpc_method_handler(join, decode, encode),
        "Turn": grpc.stream_stream_rpc_method_handler(turn, decode, encode),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, kinds),))
    if folder:
        pair = (Path(folder, "key.pem").read_bytes(), Path(folder, "certificate.pem").read_bytes())
        server.add_secure_port(address, grpc.ssl_server_credentials((pair,)))
    else:
        server.add_insecure_port(address)
    server.start()
    print("listening", flush=True)  # noqa: T201 - whoever started this waits for it
    sys.stdin.read()
    server.stop(0)


def call(address: str, folder: str) -> None:
    options = (
        ("grpc.ssl_target_name_override", "localhost"),
        ("grpc.default_authority", "localhost"),
    )
    if folder:
        trusted = grpc.ssl_channel_credentials(Path(folder, "certificate.pem").read_bytes())
        channel = grpc.secure_channel(address, trusted, options=options)
    else:
        channel = grpc.insecure_channel(address, options=options)
    results: dict[str, str] = {}

    def note(name: str, check: Callable[[], Any]) -> None:
        try:
            told = check()
        except (grpc.RpcError, LookupError) as error:
            told = error
        results[name] = "ok" if told is True else repr(told)

    def unary(name: str) -> Any:
        return channel.unary_unary(f"/{SERVICE}/{name}", encode, decode)

    def status_of(name: str, request: bytes, timeout: float = PATIENCE_S) -> Any:
        try:
            return unary(name)(request, timeout=timeout)
        except grpc.RpcError as error:
            return error

    def check_metadata() -> bool:
        answer, told = unary("Metadata").with_call(
            b"", timeout=PATIENCE_S, metadata=(("who", "me"), ("key-bin", b"\0\1"))
        )
        head, tail = dict(told.initial_metadata()), dict(told.trailing_metadata())
        return b"me" in answer and head["raw-bin"] == b"\0\xff" and tail["last"] == "2"

    def check_status() -> bool:
        told = status_of("Fail", "nö: 100 %".encode())
        return (told.code(), told.details(), dict(told.trailing_metadata())["why-bin"]) == (
            grpc.StatusCode.NOT_FOUND, "nö: 100 %", b"\1",
        )  # fmt: skip

    def check_cancel() -> bool:
        future = unary("Hang").future(b"", timeout=PATIENCE_S)
        return bool(future.cancel())

    big = bytes(3 << 20)
    counted = channel.unary_stream(f"/{SERVICE}/Count", encode, decode)
    bulk = channel.unary_stream(f"/{SERVICE}/Blocks", encode, decode)
    joined = channel.stream_unary(f"/{SERVICE}/Join", encode, decode)
    turned = channel.stream_stream(f"/{SERVICE}/Turn", encode, decode)
    note("unary", lambda: unary("Echo")(b"hello", timeout=PATIENCE_S) == b"hello")
    note("empty", lambda: unary("Echo")(b"", timeout=PATIENCE_S) == b"")
    note("big", lambda: unary("Echo")(big, timeout=PATIENCE_S) == big)
    note("server stream", lambda: len(list(counted(b"1000", timeout=PATIENCE_S))) == 1000)
    note("bulk", lambda: len(list(bulk(b"100", timeout=PATIENCE_S))) == 100)
    note("client stream", lambda: joined(iter([b"a", b"b", b"c"]), timeout=PATIENCE_S) == b"abc")
    note("both stream", lambda: list(turned(iter([b"ab", b"cd"]))) == [b"ba", b"dc"])
    note("metadata", check_metadata)
    note("status", check_status)
    note(
        "unimplemented",
        lambda: status_of("Nothing", b"").code() is grpc.StatusCode.UNIMPLEMENTED,
    )
    note(
        "deadline",
        lambda: status_of("Hang", b"", 0.05).code() is grpc.StatusCode.DEADLINE_EXCEEDED,
    )
    note("cancel", check_cancel)
    note("after all that", lambda: unary("Echo")(b"still", timeout=PATIENCE_S) == b"still")
    print(json.dumps(results))  # noqa: T201 - this is what it is for


if __name__ == "__main__":
    {"server": serve, "client": call}[sys.argv[1]](sys.argv[2], "".join(sys.argv[3:]))
