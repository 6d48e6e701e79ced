"""Against the other implementations, in both directions, plain and over TLS."""

import datetime
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import wrappers_pb2

from sigil_actors.rpc.channel import Channel, open_channel
from sigil_actors.rpc.server import Server, listen_unix, open_server
from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.rpc.tls import client_context, server_context
from tests.rpc.serving import SERVICE, Seen, handlers, path

PATIENCE_S = 60
GRPCIO = (sys.executable, str(Path(__file__).with_name("grpcio_peer.py")))


def encode(value: bytes) -> bytes:
    return bytes(wrappers_pb2.BytesValue(value=value).SerializeToString())


def decode(message: bytes) -> bytes:
    return bytes(wrappers_pb2.BytesValue.FromString(message).value)


@pytest.fixture(scope="module")
def tls_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that signs itself, of a kind that every library takes."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, tls_folder: Path) -> Path | None:
    return tls_folder if request.param == "tls" else None


@pytest.fixture(params=["grpcio", "grpc-go"])
def peer(request: pytest.FixtureRequest, go_program: Callable[[str], Path]) -> tuple[str, ...]:
    """The command of the other implementation."""
    return GRPCIO if request.param == "grpcio" else (str(go_program("grpcpeer")),)


def client_tls(folder: Path | None) -> ssl.SSLContext | None:
    if folder is None:
        return None
    context = client_context()
    context.load_verify_locations(folder / "certificate.pem")
    return context


def server_tls(folder: Path | None) -> ssl.SSLContext | None:
    if folder is None:
        return None
    context = server_context(verifies_clients=False)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


@asynccontextmanager
async def open_peer_server(
    command: tuple[str, ...], address: str, folder: Path | None
) -> AsyncGenerator[None]:
    with subprocess.Popen(  # noqa: ASYNC220 - it is started at once, and its first line waited for
        [*command, "server", address, *([str(folder)] if folder else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            assert process.stdout.readline() == b"listening\n"
            yield
        finally:
            process.stdin.close()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial(process.wait, PATIENCE_S))


async def ask(channel: Channel, method: str, request: bytes, **options: Any) -> bytes:
    answer = await channel.unary_unary(path(method), encode, decode)(request, **options)
    assert isinstance(answer, bytes)
    return answer


async def status_of(channel: Channel, method: str, request: bytes, **options: Any) -> RpcError:
    with pytest.raises(RpcError) as raised:
        await ask(channel, method, request, **options)
    return raised.value


async def test_our_client_and_their_server(
    peer: tuple[str, ...], tls: Path | None, tmp_path: Path
) -> None:
    address = f"unix:{tmp_path / 'peer'}"
    async with (
        open_peer_server(peer, address, tls),
        open_channel(address, tls=client_tls(tls)) as channel,
    ):
        assert await ask(channel, "Echo", b"hello") == b"hello"
        assert await ask(channel, "Echo", b"") == b""
        big = bytes(3 << 20)
        assert await ask(channel, "Echo", big) == big
        counted = channel.unary_stream(path("Count"), encode, decode)(b"1000")
        assert [int(number) async for number in counted] == list(range(1000))
        bulk = channel.unary_stream(path("Blocks"), encode, decode)(b"100")
        assert [len(block) async for block in bulk] == [65_536] * 100
        joined = channel.stream_unary(path("Join"), encode, decode)
        assert await joined([b"a", b"b", b"c"]) == b"abc"
        turned = channel.stream_stream(path("Turn"), encode, decode)([b"ab", b"cd"])
        assert [answer async for answer in turned] == [b"ba", b"dc"]
        async with channel.stream_stream(path("Turn"), encode, decode)() as by_hand:
            for text in (b"one", b"two"):
                await by_hand.write(text)
                assert await by_hand.read() == text[::-1]

        answer, call = await channel.unary_unary(path("Metadata"), encode, decode).with_call(
            b"", metadata=(("who", "me"), ("key-bin", b"\0\1"))
        )
        assert b"me" in answer
        assert dict(await call.initial_metadata())["raw-bin"] == b"\0\xff"
        assert dict(call.trailing_metadata())["last"] == "2"

        failed = await status_of(channel, "Fail", "nö: 100 %".encode())
        assert (failed.code(), failed.details()) == (StatusCode.NOT_FOUND, "nö: 100 %")
        assert dict(failed.trailing_metadata())["why-bin"] == b"\1"
        assert (await status_of(channel, "Nothing", b"")).code() is StatusCode.UNIMPLEMENTED
        late = await status_of(channel, "Hang", b"", timeout=0.05)
        assert late.code() is StatusCode.DEADLINE_EXCEEDED
        with trio.move_on_after(0.02) as scope:
            await ask(channel, "Hang", b"")
        assert scope.cancelled_caught

        answers: list[bytes] = []

        async def many(number: int) -> None:
            answers.append(await ask(channel, "Echo", b"%d" % number))

        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(many, number)
        assert len(set(answers)) == 300


async def test_their_client_and_our_server(
    peer: tuple[str, ...], tls: Path | None, tmp_path: Path
) -> None:
    server = Server(tls=server_tls(tls))
    methods = handlers(Seen())
    for handler in methods.values():
        handler.request_deserializer, handler.response_serializer = decode, encode
    server.add_registered_method_handlers(SERVICE, methods)
    socket_path = tmp_path / "ours"
    async with open_server(server, listen_unix(socket_path)):
        done = await trio.run_process(
            [*peer, "client", f"unix:{socket_path}", *([str(tls)] if tls else [])],
            capture_stdout=True,
        )
    results: dict[str, str] = json.loads(done.stdout)
    assert len(results) == 13
    assert set(results.values()) == {"ok"}, results


async def test_a_server_that_nobody_vouches_for_is_refused(
    tls_folder: Path, tmp_path: Path
) -> None:
    server = Server(tls=server_tls(tls_folder))
    socket_path = tmp_path / "ours"
    async with open_server(server, listen_unix(socket_path)):
        with pytest.raises(ssl.SSLCertVerificationError):
            async with open_channel(f"unix:{socket_path}", tls=client_context()):
                raise AssertionError


async def test_a_server_of_another_name_is_refused(tls_folder: Path, tmp_path: Path) -> None:
    server = Server(tls=server_tls(tls_folder))
    socket_path = tmp_path / "ours"
    async with open_server(server, listen_unix(socket_path)):
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            async with open_channel(
                f"unix:{socket_path}", tls=client_tls(tls_folder), server_hostname="other"
            ):
                raise AssertionError
