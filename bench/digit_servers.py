"""All servers that are asked for digits at once: the gateways, the empty ones, the peers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec

from bench.generator import GeneratorFailed, Load, Work
from bench.labels import AIO, CPP, ON_TORCHSERVE
from bench.load import WrongAnswer
from bench.messages import Rows
from bench.peers.starting import peers
from bench.serving import Server, empty_aio, empty_cpp, first_right_answer, gateway
from bench.setting import Setting
from bench.store import MODEL
from examples.demo.command import FREE_PORTS

WARM_UP = Load("warm-up", callers=64)
WARM_UP_SECONDS = 30.0
"""Of each TorchServe: Java compiles while it runs, and is several times slower before."""
BEHIND_WARM_UP_SECONDS = 90.0
"""Of one behind a gateway: a batch is one call for it, so that it is called a thirtieth as often."""

TORCHSERVE_PORTS = [option for option in FREE_PORTS if option.startswith("--torchserve")]


@dataclass(slots=True)
class Servers:
    """there: by front and by what they are asked for. absent: why others are not, by label."""

    there: dict[tuple[str, Work], Server] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


@contextmanager
def digit_servers(setting: Setting) -> Iterator[Servers]:
    """For the length of a block; each has answered right. Raises ServerFailed, WrongAnswer."""
    servers, works = (
        Servers(),
        {work: rows for work, rows in setting.generator.rows.items() if work[0] == MODEL},
    )
    with ExitStack() as stack:
        gateways = {
            label: stack.enter_context(gateway(setting.store, setting.core, setting.folder, front))
            for label, front in setting.fronts.items()
        }
        for work, rows in works.items():
            replies = {label: first_right_answer(server, rows) for label, server in gateways.items()}
            servers.there |= {(label, work): server for label, server in gateways.items()}
            servers.there |= _empty(stack, setting, work, rows, next(iter(replies.values())))
        if setting.peers:
            _enter_peers(stack, setting, servers, works)
        yield servers


def _empty(
    stack: ExitStack, setting: Setting, work: Work, rows: Rows, answer: bytes
) -> Mapping[tuple[str, Work], Server]:
    """The empty servers, which send the gateway's reply to just this request."""
    reply = setting.folder / f"reply-{work[1]}"
    reply.write_bytes(answer)
    empty = {
        (AIO, work): stack.enter_context(empty_aio(reply, setting.core)),
        (CPP, work): stack.enter_context(empty_cpp(setting.programs.empty_server, reply, setting.core)),
    }
    for server in empty.values():
        first_right_answer(server, rows)
    return empty


def _enter_peers(stack: ExitStack, setting: Setting, servers: Servers, works: Mapping[Work, Rows]) -> None:
    one = works[MODEL, 1]
    found = stack.enter_context(peers(setting, one))
    servers.absent |= found.absent
    servers.there |= {(label, work): server for label, server in found.servers.items() for work in works}
    if "torchserve" in setting.peers:
        servers.there |= _on_torchserve(stack, setting, one, servers.absent)
        warm_up(setting, servers)


def warm_up(setting: Setting, servers: Servers) -> None:
    """Load every TorchServe for a while. What does not stand it is told of in one line, and left out."""
    for (label, work), server in list(servers.there.items()):
        if work != (MODEL, 1) or "TorchServe" not in label:
            continue
        seconds = BEHIND_WARM_UP_SECONDS if label in ON_TORCHSERVE else WARM_UP_SECONDS
        setting.say(f"{label}: {seconds:g} s of load before anything counts")
        try:
            setting.generator.run(server.doors["raw"], WARM_UP, seconds)
        except (GeneratorFailed, WrongAnswer) as error:
            servers.absent[label] = reason = " ".join(str(error).split())[:300]
            servers.there = {key: each for key, each in servers.there.items() if key[0] != label}
            setting.say(f"{label} is not measured: {reason}")


def _on_torchserve(
    stack: ExitStack, setting: Setting, rows: Rows, absent: dict[str, str]
) -> Mapping[tuple[str, Work], Server]:
    """The gateway, in front of a TorchServe on the same core, with each front."""
    if find_spec("ts") is None:
        absent |= dict.fromkeys(ON_TORCHSERVE, "the extra `torchserve` is not installed")
        return {}
    options = ("--engine", "torchserve", *TORCHSERVE_PORTS)
    found = {}
    for label, with_front in ON_TORCHSERVE.items():
        if with_front in setting.fronts:
            front = setting.fronts[with_front]
            server = stack.enter_context(
                gateway(setting.store, setting.core, setting.folder, front, *options)
            )
            first_right_answer(server, rows)
            found[label, (MODEL, 1)] = server
    return found
