"""Certificates are for the name that was asked for, whatever address it leads to."""

from __future__ import annotations

import ssl

import pytest
import trustme

from perdure.egress import Unreachable
from perdure.egress.wire import _Pinned

from .world import World, answer, serving


def certified(ca: trustme.CA, *names: str) -> tuple[ssl.SSLContext, list[str | None]]:
    """A server's context, and the names its clients ask for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)  # type: ignore[assignment]
    return context, asked


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def trusting(world: World, ca: trustme.CA) -> World:
    world.context = ssl.create_default_context()
    ca.configure_trust(world.context)
    return world


async def test_the_name_is_asked_for_and_verified_though_the_address_is_dialled(
    world: World, ca: trustme.CA
) -> None:
    context, asked = certified(ca, "site.test")
    async with serving(lambda _: answer(), context) as server:
        trusting(world, ca).allow(
            private=[f"site.test:{server.port}", f"other.test:{server.port}"]
        ).names({"site.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]]})
        for _ in range(2):
            assert (await world.get(f"https://site.test:{server.port}/")).status == 200
        assert asked == ["site.test"] and server.connections == 1, "the connection is kept"
        assert server.header("host") == f"site.test:{server.port}"
        with pytest.raises(Unreachable, match="certificate"):
            await world.get(f"https://other.test:{server.port}/")
        assert asked == ["site.test", "other.test"], "another name, another connection"
        assert len(server.seen) == 2


async def test_a_certificate_nobody_here_trusts_ends_it(world: World, ca: trustme.CA) -> None:
    context, _ = certified(trustme.CA(), "site.test")
    async with serving(lambda _: answer(), context) as server:
        trusting(world, ca).allow(private=[f"site.test:{server.port}"])
        world.names({"site.test": [["127.0.0.1"]]})
        with pytest.raises(Unreachable, match="certificate"):
            await world.get(f"https://site.test:{server.port}/")
        assert not server.seen


async def test_a_connection_that_went_elsewhere_is_cut_before_anything_is_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should the library below ever dial another address than the one it was given."""
    import aiohttp

    async with serving(lambda _: answer()) as server:
        world.allow(private=[f"127.0.0.2:{server.port}"])
        real = aiohttp.TCPConnector._create_connection

        async def astray(self: _Pinned, req: aiohttp.ClientRequest, *rest: object) -> object:
            kept = req.url
            req.url = kept.with_host("127.0.0.1")
            try:
                return await real(self, req, *rest)  # type: ignore[arg-type]
            finally:
                req.url = kept

        monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", astray)
        with pytest.raises(Exception, match="another address"):
            await world.get(f"http://127.0.0.2:{server.port}/")
        assert server.connections == 1 and not server.seen
