"""One connection of a plugin to its proxy: read the request, decide, connect, relay, record."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address

import attrs
import trio

from sigil_actors.core.address_class import Address, unmapped
from sigil_actors.core.egress_reason import EGRESS_SENTENCES, EgressReason
from sigil_actors.core.egress_rule import (
    CanonicalHost,
    EgressRule,
    EgressVerdict,
    HostError,
    canonical_host,
)
from sigil_actors.core.http_body import BodyReader
from sigil_actors.core.http_request import ProxyRequestError
from sigil_actors.core.proxy_request import ProxyRequest, ProxyRequestReader
from sigil_actors.core.server_name import ServerNameGuard
from sigil_actors.core.text import escape_text
from sigil_actors.egress.bounds import EgressBounds
from sigil_actors.egress.dialer import NetworkError, Resolve, dial, is_address_of_host, look_up
from sigil_actors.egress.relay import PIECE_BYTES, Relay, Traffic
from sigil_actors.errors import AuditUnavailableError
from sigil_actors.ports.egress import EgressAttempt, EgressEnd, EgressGate

logger = logging.getLogger(__name__)

_LOST = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.frozen(kw_only=True)
class Site:
    """What the connections of one instance have in common."""

    plugin: str
    rule: EgressRule
    gate: EgressGate
    resolve: Resolve
    bounds: EgressBounds


class _RefusedError(Exception):
    """It was decided against it, and that is recorded where it can be."""

    def __init__(self, reason: EgressReason) -> None:
        self.reason = reason
        super().__init__(reason)


class _UnreadableError(Exception):
    """There is no request that could be decided about."""

    def __init__(self, reason: EgressReason, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(reason, detail)


class Connection:
    """One connection. `run` is its whole life; nothing of it is left then."""

    def __init__(self, client: trio.SocketStream, number: int, site: Site) -> None:
        self._client = client
        self._number = number
        self._site = site
        self._reader = ProxyRequestReader()

    async def run(self, *, is_one_too_many: bool) -> None:
        """Serve it. Errors of the network are its end, never raised."""
        async with self._client:
            try:
                await self._serve(is_one_too_many=is_one_too_many)
            except (_RefusedError, NetworkError) as error:
                await self._refuse(error.reason)
            except _LOST:
                logger.debug("plugin %s hung up on its proxy", self._site.plugin)

    async def _serve(self, *, is_one_too_many: bool) -> None:
        try:
            request = await self._read_request()
        except _UnreadableError as error:
            await self._ask(self._attempt(reason=error.reason, detail=error.detail))
            return
        if request is None:
            return
        attempt = self._attempt(host=request.host, port=request.port)
        if is_one_too_many:
            attempt = attrs.evolve(attempt, reason=EgressReason.TOO_MANY_CONNECTIONS)
            await self._ask(attempt)
        try:
            host = canonical_host(request.host)
        except HostError as error:
            await self._ask(
                attrs.evolve(attempt, reason=EgressReason.MALFORMED_HOST, detail=error.what)
            )
            return
        verdict = self._site.rule.judge_target(host, request.port)
        attempt = attrs.evolve(
            attempt,
            host=host.text,
            address=host.text if host.is_address else "",
            reason=verdict.reason,
            detail=verdict.detail,
        )
        await self._ask(attempt)
        await self._serve_allowed(request, host, attempt)

    def _attempt(
        self,
        *,
        host: str = "",
        port: int = 0,
        reason: EgressReason = EgressReason.OK,
        detail: str = "",
    ) -> EgressAttempt:
        return EgressAttempt(
            connection=self._number,
            protocol=self._reader.protocol,
            host=host,
            port=port,
            reason=reason,
            detail=detail,
        )

    async def _read_request(self) -> ProxyRequest | None:
        """Return the request; None where the client hung up, or stayed silent, before it began."""
        reader = self._reader
        with trio.move_on_after(self._site.bounds.request_s):
            while data := await self._client.receive_some(PIECE_BYTES):
                try:
                    request = reader.receive(data)
                except ProxyRequestError as error:
                    raise _UnreadableError(error.reason, error.what) from error
                finally:
                    # Also before a refusal: the client reads its answers one after another.
                    if reader.to_send:
                        greeting, reader.to_send = reader.to_send, b""
                        await self._client.send_all(greeting)
                if request is not None:
                    return request
            if reader.is_untouched:
                return None
            raise _UnreadableError(EgressReason.REQUEST_TRUNCATED)
        if reader.is_untouched:
            return None
        raise _UnreadableError(EgressReason.REQUEST_TIMED_OUT)

    async def _ask(self, attempt: EgressAttempt) -> None:
        """Have the attempt recorded, and go on only where it is allowed.

        Raises:
            _RefusedError: it isn't.
        """
        try:
            decided = await self._site.gate.decide(attempt)
        except AuditUnavailableError as error:
            # The enforcer has warned already, once.
            logger.info("a connection of plugin %s is refused: %s", self._site.plugin, error)
            decided = EgressReason.AUDIT_UNAVAILABLE
        except Exception:  # whatever breaks there must be a no here
            logger.exception("a connection of plugin %s couldn't be decided", self._site.plugin)
            decided = EgressReason.DECISION_FAILED
        reason = decided if attempt.reason is EgressReason.OK else attempt.reason
        if reason is not EgressReason.OK:
            logger.info(
                "plugin %s may not connect to %s:%d: %s",
                self._site.plugin,
                escape_text(attempt.host, limit=300),
                attempt.port,
                reason,
            )
            raise _RefusedError(reason)

    async def _serve_allowed(
        self, request: ProxyRequest, host: CanonicalHost, attempt: EgressAttempt
    ) -> None:
        """Connect and relay. How it ends is recorded by whatever road, as a refusal or an end."""
        began = trio.current_time()
        traffic = Traffic(address=attempt.address)
        is_recorded = False
        try:
            addresses = await self._vetted_addresses(host, attempt)
            server = await self._dial_first(addresses, attempt, traffic)
            async with server:
                await self._relay(request, host, server, traffic)
        except _RefusedError:
            is_recorded = True
            raise
        except NetworkError as error:
            traffic.reason, traffic.detail = error.reason, error.detail
            raise
        except _LOST:
            traffic.reason = EgressReason.CONNECTION_LOST
            raise
        finally:
            if not is_recorded:
                end = EgressEnd(
                    connection=self._number,
                    protocol=request.protocol,
                    host=host.text,
                    port=request.port,
                    address=traffic.address,
                    reason=traffic.reason,
                    detail=traffic.detail,
                    bytes_up=traffic.bytes_up,
                    bytes_down=traffic.bytes_down,
                    duration_s=trio.current_time() - began,
                )
                self._site.gate.record_end(end)

    async def _vetted_addresses(
        self, host: CanonicalHost, attempt: EgressAttempt
    ) -> Sequence[Address]:
        """Return the addresses that may be dialled, best first; the name is looked up this once."""
        if host.is_address:
            return (ip_address(host.text),)
        site = self._site
        vetted: list[Address] = []
        refused = attempt
        for found in await look_up(site.resolve, host.text, site.bounds):
            address = unmapped(found)
            verdict = self._judge(address, attempt.port)
            if verdict.allowed:
                vetted.append(address)
            else:
                refused = attrs.evolve(
                    attempt, address=str(address), reason=verdict.reason, detail=verdict.detail
                )
        if not vetted:
            await self._ask(refused)
        return vetted[: site.bounds.addresses]

    def _judge(self, address: Address, port: int) -> EgressVerdict:
        rule = self._site.rule
        verdict = rule.judge_address(address, port)
        if verdict.allowed and not rule.is_literal(address, port) and is_address_of_host(address):
            return EgressVerdict(EgressReason.ADDRESS_OF_HOST)
        return verdict

    async def _dial_first(
        self, addresses: Sequence[Address], attempt: EgressAttempt, traffic: Traffic
    ) -> trio.SocketStream:
        """Connect to the first address that can be reached; each is recorded before it is tried."""
        *others, last = addresses
        for address in others:
            with suppress(NetworkError):
                return await self._dial(address, attempt, traffic)
        return await self._dial(last, attempt, traffic)

    async def _dial(
        self, address: Address, attempt: EgressAttempt, traffic: Traffic
    ) -> trio.SocketStream:
        if str(address) != attempt.address:
            await self._ask(attrs.evolve(attempt, address=str(address)))
        traffic.address = str(address)
        return await dial(address, attempt.port, self._site.bounds)

    async def _relay(
        self,
        request: ProxyRequest,
        host: CanonicalHost,
        server: trio.SocketStream,
        traffic: Traffic,
    ) -> None:
        relay = Relay(self._client, server, bounds=self._site.bounds, traffic=traffic)
        if request.plain is not None:
            head = request.plain.head_for(host, request.port)
            await relay.run_request(head, BodyReader(request.plain.body), request.rest)
            return
        await self._client.send_all(self._reader.acceptance())
        await relay.run_tunnel(ServerNameGuard(host), request.rest)

    async def _refuse(self, reason: EgressReason) -> None:
        """Say no, and give the client a moment to hear it."""
        answer = self._reader.refusal(reason, EGRESS_SENTENCES[reason])
        bounds = self._site.bounds
        with trio.move_on_after(bounds.linger_s), suppress(*_LOST):
            await self._client.send_all(answer)
            await self._client.send_eof()
            unheard = bounds.linger_bytes
            while unheard > 0 and (data := await self._client.receive_some(PIECE_BYTES)):
                unheard -= len(data)
