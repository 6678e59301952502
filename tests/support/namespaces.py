"""Network namespaces with addresses of their own on one bridge, as pods have them; needs root and iproute2.

A namespace lives as long as the process that holds it, and that one as long as its pipe from the test: so the
kernel removes namespaces, links and addresses however the test ends. Nothing has a name in /run/netns.
The test itself is on the bridge too. Runs beside each other get networks of their own.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

PREFIX = "ssq"
NETWORKS = 512
"""Networks of 198.18.0.0/15, which RFC 2544 sets aside for tests, by 256 addresses."""
BRIDGE, UPLINK, LINK = "bridge", "uplink", "eth0"
HERE = 1
"""The last part of the test's own address; those of the namespaces follow."""
MOST_ADDRESSES = 250
NOBODY = 254
END_SECONDS = 10


@dataclass(frozen=True)
class Namespace:
    """One with addresses. holder: the process that keeps it. plug: its link's other end, where hub is."""

    holder: int
    addresses: tuple[str, ...]
    plug: str
    hub: int

    @property
    def address(self) -> str:
        """The first, and mostly the only one."""
        return self.addresses[0]

    def within(self, *command: str) -> list[str]:
        """The command line that runs a command inside; the process started is the command's own."""
        return _within(self.holder, *command)

    def cut(self) -> None:
        """Take the link down: packets vanish, both ways, and nobody is told; open connections stay open."""
        _ip(self.hub, "link", "set", self.plug, "down")

    def mend(self) -> None:
        """Take it up again."""
        _ip(self.hub, "link", "set", self.plug, "up")

    def lose(self, share: float) -> None:
        """Drop so large a share of the packets that come and of those that go, each by chance. Needs iptables."""
        by_chance = ("-m", "statistic", "--mode", "random", "--probability", str(share), "-j", "DROP")
        _iptables(self.holder, "-A", "INPUT", "-i", LINK, *by_chance)
        _iptables(self.holder, "-A", "OUTPUT", "-o", LINK, *by_chance)

    def lose_nothing(self) -> int:
        """Let all through again; returns how many packets were lost."""
        rules = _iptables(self.holder, "-nvxL").splitlines()
        _iptables(self.holder, "-F")
        return sum(int(rule.split()[0]) for rule in rules if "DROP" in rule and "statistic" in rule)

    def deafen(self, address: str) -> None:
        """Answer that address no more: what comes from it arrives, and nothing goes back."""
        _ip(self.holder, "route", "replace", "blackhole", f"{address}/32")

    def undeafen(self, address: str) -> None:
        """Answer it again."""
        _ip(self.holder, "route", "delete", "blackhole", f"{address}/32")


class Network:
    """Namespaces on one bridge. here: the address of the test. nobody: one that is never given.

    link: the test's own, by which it reaches the bridge. hub: the process that keeps the bridge's own namespace.
    """

    def __init__(self, number: int, hub: int, stack: ExitStack) -> None:
        self._prefix = _prefix(number)
        self._hub = hub
        self._stack = stack
        self._last = HERE
        self.here = f"{self._prefix}.{HERE}"
        self.nobody = f"{self._prefix}.{NOBODY}"
        self.link = f"{PREFIX}{number}"

    def namespace(self, addresses: int = 1) -> Namespace:
        """A new one, with the next address, or the first of so many. Ends with the network."""
        numbers = range(self._last + 1, self._last + 1 + addresses)
        if numbers[-1] > MOST_ADDRESSES:
            raise ValueError(f"{numbers[-1]} addresses; accepted: at most {MOST_ADDRESSES} in one network")
        self._last = numbers[-1]
        holder = self._stack.enter_context(_held_namespace())
        plug = f"plug{numbers[0]}"
        _ip(self._hub, "link", "add", plug, "type", "veth", "peer", "name", LINK, "netns", str(holder))
        _ip(self._hub, "link", "set", plug, "master", BRIDGE, "up")
        own = tuple(f"{self._prefix}.{number}" for number in numbers)
        for address in own:
            _ip(holder, "address", "add", f"{address}/24", "dev", LINK)
        _ip(holder, "link", "set", LINK, "up")
        _ip(holder, "link", "set", "lo", "up")
        return Namespace(holder, own, plug, self._hub)


@contextmanager
def network() -> Iterator[Network]:
    """A network for the length of the block; skips the test where the machine has none to give."""
    missing = [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"network namespaces need {', '.join(missing)} (iproute2, util-linux)")
    with ExitStack() as stack:
        try:
            hub = stack.enter_context(_held_namespace())
            number = _uplink(hub)
            stack.callback(_remove, f"{PREFIX}{number}")
            _ip(hub, "link", "add", BRIDGE, "type", "bridge")
            _ip(hub, "link", "set", BRIDGE, "up")
            _ip(hub, "link", "set", UPLINK, "master", BRIDGE, "up")
            _ip(None, "address", "add", f"{_prefix(number)}.{HERE}/24", "dev", f"{PREFIX}{number}")
            _ip(None, "link", "set", f"{PREFIX}{number}", "up")
        except NotAllowed as error:
            pytest.skip(f"no network namespaces with a bridge here: {error}")
        yield Network(number, hub, stack)


class NotAllowed(Exception):
    """The system does not let this process do it."""


def _uplink(hub: int) -> int:
    """The link from here to the bridge's namespace, under a name that is free: two runs never have the same."""
    for number in range(NETWORKS):
        name = f"{PREFIX}{number}"
        with contextlib.suppress(_Taken):
            _ip(None, "link", "add", name, "type", "veth", "peer", "name", UPLINK, "netns", str(hub))
            return number
    raise NotAllowed(f"all {NETWORKS} networks are in use")


@contextmanager
def _held_namespace() -> Iterator[int]:
    """A process in a network namespace of its own, by its id; it ends with the block, or with this process."""
    command = ["unshare", "--net", "sh", "-c", "echo; exec cat"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        try:
            if not holder.stdout.readline():
                raise NotAllowed(holder.stderr.read().decode().strip())
            yield holder.pid
        finally:
            holder.stdin.close()
            holder.wait(END_SECONDS)


class _Taken(Exception):
    """Somebody else has a link of that name."""


def _iptables(holder: int, *arguments: str) -> str:
    """What it prints. Skips the test where the machine has none, or none with chance."""
    if shutil.which("iptables") is None:
        pytest.skip("to lose packets takes iptables")
    done = subprocess.run(
        _within(holder, "iptables", *arguments), capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"to lose packets takes iptables with `statistic`: {done.stderr.strip()}")
    return done.stdout


def _ip(holder: int | None, *arguments: str) -> None:
    """Run `ip` here, or in the namespace that a process holds."""
    command = ["ip", *arguments] if holder is None else _within(holder, "ip", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "File exists" in done.stderr:
        raise _Taken(done.stderr)
    if done.returncode:
        raise NotAllowed(f"{' '.join(command)}: {done.stderr.strip()}")


def _remove(link: str) -> None:
    """Both ends, at once: by themselves they would go a moment after the namespace, in the kernel's own time."""
    subprocess.run(["ip", "link", "delete", link], capture_output=True, check=False)


def _within(holder: int, *command: str) -> list[str]:
    return ["nsenter", "--target", str(holder), "--net", "--", *command]


def _prefix(number: int) -> str:
    return f"198.{18 + number // 256}.{number % 256}"
