"""One request through a door, and its reply; for a server that may not be ready yet."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing

import grpc

from bench.messages import Rows
from bench.wires import Door

PATIENCE_SECONDS = 90
CHANNEL_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class NoReply(Exception):
    """There was none, or a refusal; the text says which."""


def ask(door: Door, rows: Rows) -> bytes:
    """The body of a good reply. Raises NoReply."""
    if not _listens(door.address):
        raise NoReply("nobody listens")
    return _ask_http(door, rows) if door.wire.content_type else _ask_grpc(door, rows)


def _listens(address: str) -> bool:
    """Looked at first: a gRPC channel waits a second after a connection that was refused."""
    host, _, port = address.rpartition(":")
    with closing(socket.socket()) as probe:
        return probe.connect_ex((host, int(port))) == 0


def _ask_grpc(door: Door, rows: Rows) -> bytes:
    with grpc.insecure_channel(door.address, options=CHANNEL_OPTIONS) as channel:
        call = channel.unary_unary(
            door.wire.options(rows)["method"], request_serializer=bytes, response_deserializer=bytes
        )
        try:
            reply: bytes = call(door.wire.body(rows), timeout=PATIENCE_SECONDS)
        except grpc.RpcError as error:
            raise NoReply(str(error)) from error
        return reply


def _ask_http(door: Door, rows: Rows) -> bytes:
    options = door.wire.options(rows)
    with closing(http.client.HTTPConnection(door.address, timeout=PATIENCE_SECONDS)) as connection:
        try:
            connection.request(
                "POST", options["path"], door.wire.body(rows), {"Content-Type": options["content-type"]}
            )
            response = connection.getresponse()
            reply = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoReply(repr(error)) from error
        if response.status != http.client.OK:
            raise NoReply(f"HTTP {response.status}: {reply[:300].decode(errors='replace')}")
        return reply
