"""Which local addresses ICE uses."""

import asyncio

import pytest
from aioice import Candidate, Connection
from replay import run
from videos import run as run_plain

from daemon.errors import LostError
from daemon.sources.addresses import use_addresses


def hosts(connection: Connection) -> set[str]:
    """Where its candidates are."""
    return {candidate.host for candidate in connection.local_candidates}


def test_two_connections_gather_at_once_each_from_its_own_addresses() -> None:
    """Settings of one session do not touch another's."""

    async def main() -> None:
        one, two = Connection(ice_controlling=True), Connection(ice_controlling=True)
        use_addresses(one, ("127.0.0.1",))
        use_addresses(two, ("127.0.0.2", "127.0.0.3"))
        await asyncio.gather(one.gather_candidates(), two.gather_candidates())
        assert (hosts(one), hosts(two)) == ({"127.0.0.1"}, {"127.0.0.2", "127.0.0.3"})
        await asyncio.gather(one.close(), two.close())

    run(main())


def test_sockets_are_bound_to_the_address_alone() -> None:
    """What is sent leaves by that address, whatever the peer's."""

    async def main() -> None:
        connection = Connection(ice_controlling=True)
        use_addresses(connection, ("127.0.0.1",))
        await connection.gather_candidates()
        bound = {protocol.transport.get_extra_info("sockname")[0] for protocol in connection._protocols}
        assert bound == {"127.0.0.1"}
        await connection.close()

    run(main())


def test_an_address_that_is_there_is_enough() -> None:
    """One interface of two may be down; 192.0.2.1 is nobody's (RFC 5737)."""

    async def main() -> None:
        connection = Connection(ice_controlling=True)
        use_addresses(connection, ("192.0.2.1", "127.0.0.1"))
        await connection.gather_candidates()
        assert hosts(connection) == {"127.0.0.1"}
        await connection.close()

    run(main())


def test_no_address_that_is_there_is_an_error_that_names_the_setting() -> None:
    """Instead of an offer that nobody can reach."""

    async def main() -> None:
        connection = Connection(ice_controlling=True)
        use_addresses(connection, ("192.0.2.1",))
        with pytest.raises(LostError, match=r"none of webrtc\.addresses \(192\.0\.2\.1\) is an address") as caught:
            await connection.gather_candidates()
        assert caught.value.final_at_first
        await connection.close()

    run(main())


def test_no_addresses_leave_a_connection_as_it_is() -> None:
    """The default is aioice's own."""

    async def main() -> None:
        connection = Connection(ice_controlling=True)
        before = (connection.get_component_candidates, connection.add_remote_candidate)
        use_addresses(connection, ())
        assert (connection.get_component_candidates, connection.add_remote_candidate) == before

    run_plain(main())


def test_names_are_not_resolved_by_multicast() -> None:
    """A query for a .local name would leave by every interface."""

    async def main() -> None:
        connection = Connection(ice_controlling=True)
        use_addresses(connection, ("127.0.0.1",))
        for host in ("0a1b2c3d.local", "127.0.0.9"):
            await connection.add_remote_candidate(Candidate("1", 1, "udp", 1, host, 5000, "host"))
        await connection.add_remote_candidate(None)
        assert [candidate.host for candidate in connection.remote_candidates] == ["127.0.0.9"]

    run_plain(main())
