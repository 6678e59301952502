"""The tests' own network namespaces: reached, cut off, and gone with the test, however that ends."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.namespaces import Namespace, Network, network
from support.served import TESTS, environment

PORT = 9000
LISTENS = (
    "import socket, time; s = socket.create_server(('0.0.0.0', 9000)); print(flush=True); time.sleep(600)"
)
LINKS = Path("/sys/class/net")
WAIT_SECONDS = 60.0


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as running:
        yield running


@pytest.fixture
def listening(net: Network) -> Iterator[Namespace]:
    """A namespace in which somebody listens."""
    namespace = net.namespace(addresses=2)
    command = namespace.within(sys.executable, "-c", LISTENS)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        yield namespace
        program.kill()


def is_reached(address: str, seconds: float = WAIT_SECONDS) -> bool:
    try:
        socket.create_connection((address, PORT), seconds).close()
    except TimeoutError:
        return False
    return True


def test_every_address_is_reached_until_the_link_is_down(listening: Namespace) -> None:
    assert all(is_reached(address) for address in listening.addresses)
    listening.cut()
    assert not is_reached(listening.address, 0.5)
    listening.mend()
    assert is_reached(listening.address)


def test_who_is_not_answered_waits(net: Network, listening: Namespace) -> None:
    listening.deafen(net.here)
    assert not is_reached(listening.address, 0.5)
    listening.undeafen(net.here)
    assert is_reached(listening.address)


def test_two_networks_have_nothing_in_common(net: Network) -> None:
    with network() as other:
        assert net.here != other.here
        assert net.namespace().address != other.namespace().address


def test_nothing_is_left_even_of_a_test_that_is_killed(net: Network) -> None:
    program = (
        "import time; from support.namespaces import network\n"
        "with network() as net: print(net.namespace().address, net.link, flush=True); time.sleep(600)"
    )
    variables = environment(PYTHONPATH=str(TESTS))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=variables
    ) as doomed:
        assert doomed.stdout is not None
        _, link = doomed.stdout.readline().split()
        assert link != net.link
        assert (LINKS / link).exists()
        doomed.kill()
    deadline = time.monotonic() + WAIT_SECONDS
    while (LINKS / link).exists():
        assert time.monotonic() < deadline, f"{link} is left"
        time.sleep(0.05)
