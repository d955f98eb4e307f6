"""Which local addresses ICE may use: the one place that reaches into aioice.

aioice binds to every address but 127.0.0.1, and has no setting for it. What is changed here are methods of one
connection object, so that connections with other settings, in other sessions, are left alone. A TURN server is
reached by the way that the system chooses: naming one allows that.
"""

from aioice import Candidate, Connection
from aioice.mdns import is_mdns_hostname

from daemon.errors import LostError


def use_addresses(connection: Connection, addresses: tuple[str, ...]) -> None:
    """Lets ICE of this connection bind to these local addresses only; () leaves it to aioice.

    Names ending in .local that the peer gives are then left out too, since they are resolved by multicast on every
    interface. Such a peer, a browser, is still found when it sends the first packet.

    Args:
        connection: Has not gathered candidates yet; where it does, it raises `LostError` if none of the addresses is
            one of this machine.
        addresses: IPv4 or IPv6.
    """
    if not addresses:
        return
    gather, add = connection.get_component_candidates, connection.add_remote_candidate

    async def gather_there(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:  # noqa: ARG001, ASYNC109 (aioice's signature)
        candidates = await gather(component, list(chosen), timeout)
        if not candidates:
            msg = f"none of webrtc.addresses ({', '.join(chosen)}) is an address of this machine; set it to one that is"
            raise LostError(msg, final_at_first=True)
        return candidates

    async def add_unless_name(remote_candidate: Candidate | None) -> None:
        if remote_candidate is None or not is_mdns_hostname(remote_candidate.host):
            await add(remote_candidate)

    chosen = addresses
    connection.get_component_candidates = gather_there  # type: ignore[method-assign]
    connection.add_remote_candidate = add_unless_name  # type: ignore[method-assign]
