"""The peers that were asked for: each installed, started and asked, or named with what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import WrongAnswer
from bench.messages import Rows
from bench.peers import mosec, torchserve, triton
from bench.peers.installing import Environment, NotInstalled, install
from bench.peers.model_files import ModelFiles, model_files
from bench.serving import Server, ServerFailed, first_right_answer
from bench.setting import Setting

Servers = AbstractContextManager[Mapping[str, Server]]
Start = Callable[[Environment, ModelFiles, int, Path], Servers]

STARTS: Mapping[str, Start] = {
    "mosec": mosec.mosec,
    "torchserve": torchserve.torchserve,
    "triton": triton.triton,
}
LABELS: Mapping[str, Sequence[str]] = {
    "mosec": (mosec.BATCHED, mosec.SINGLE),
    "torchserve": (torchserve.HTTP, torchserve.GRPC, torchserve.SINGLE),
    "triton": (triton.LABEL,),
}
"""What each is called in tables: some are measured in several ways."""


@dataclass(slots=True)
class Peers:
    """servers: by label. absent: labels of those that were asked for and are not there, with the reason."""

    servers: dict[str, Server] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


@contextmanager
def peers(setting: Setting, rows: Rows) -> Iterator[Peers]:
    """Those that were asked for, for the length of a block; one that fails is told of in one line.

    rows: what each is asked first.
    """
    found, files = Peers(), model_files(setting.archive, setting.folder)
    with ExitStack() as stack:
        for name in setting.peers:
            setting.say(f"{name}: installing what is missing, starting it")
            try:
                servers = stack.enter_context(_answering(name, setting, files, rows))
            except (NotInstalled, ServerFailed, WrongAnswer, OSError) as error:
                reason = " ".join(str(error).split())[:300]
                found.absent |= dict.fromkeys(LABELS[name], reason)
                setting.say(f"{name} is not measured: {reason}")
            else:
                found.servers |= servers
        yield found


@contextmanager
def _answering(name: str, setting: Setting, files: ModelFiles, rows: Rows) -> Iterator[Mapping[str, Server]]:
    with STARTS[name](install(name), files, setting.core, setting.folder) as servers:
        for server in servers.values():
            first_right_answer(server, rows)
        yield servers
