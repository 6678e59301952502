"""The gateway that the fault tests share, and what they have in common to say of an absence."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from support import harmful_handler as harm
from support.faulty import Faulty, Outcome, asked, put_archive, starting
from support.running import until
from support.served import Served

VERSIONS = ("line/1", "line/2", "other/1")
MAX_BATCH_SECONDS = 1.0
TOKEN_MINUTES = 0.1
RECOVERED_SECONDS = (
    150.0  # alone it takes 2 to 8, on a machine that is busy with other things many times that
)
REFUSED_SECONDS = 0.8  # a refusal that waited for TorchServe would take seconds
AWAY_AND_BACK = ["SERVING", "NOT_SERVING", "SERVING"]


@dataclass(frozen=True)
class Start:
    """What probes and callers heard until the gateway served."""

    health: dict[str, str]
    outcomes: list[Outcome]

    def check(self) -> None:
        """It was alive and not ready, and asked callers to come again."""
        assert self.health == {"": "NOT_SERVING", "liveness": "SERVING"}
        assert {outcome.code for outcome in self.outcomes} <= {"UNAVAILABLE", "OK"}
        waiting = [outcome for outcome in self.outcomes if outcome.code == "UNAVAILABLE"]
        assert waiting
        assert all(outcome.retry_seconds > 0 for outcome in waiting)


@dataclass
class Faults:
    """The gateway of these tests. torchserve: the folder. tokens: all that a test has read."""

    served: Served
    store: Path
    torchserve: Path
    start: Start
    tokens: set[str] = field(default_factory=set)

    async def keep_busy(self, faulty: Faulty, model: str) -> asyncio.Task[httpx.Response]:
        """Give a model's worker a slow number over HTTP; who asks after this has to wait in TorchServe."""
        waiting = self.torchserve / "tmp" / harm.WAITING
        waiting.unlink(missing_ok=True)
        post = asyncio.create_task(faulty.post(model, harm.SLOW))
        await until(waiting.exists)
        return post


@contextmanager
def sharing(folder: Path, front: str = "python") -> Iterator[Faults]:
    """A gateway with `line` 1, which is the default one, and 2, and `other` 1."""
    store, config, torchserve = folder / "model-store", folder / "seqserve.toml", folder / "torchserve"
    store.mkdir()
    for name, version in (("line", "1"), ("line", "2"), ("other", "1")):
        put_archive(store, name, version)
    config.write_text(f"[models.line]\nlabels = {{ stable = 1 }}\nmax_batch_seconds = {MAX_BATCH_SECONDS}\n")
    options = (
        f"--front={front}",
        "--engine=torchserve",
        f"--config={config}",
        f"--torchserve-folder={torchserve}",
        f"--torchserve-token-minutes={TOKEN_MINUTES}",
    )
    with starting(folder, store, *options) as served:
        yield Faults(served, store, torchserve, asyncio.run(while_it_starts(served, "other")))


async def while_it_starts(served: Served, model: str) -> Start:
    """Ask for a model until the gateway serves."""
    async with asked(served) as faulty:
        start = Start({name: await faulty.health(name) for name in ("", "liveness")}, [])
        while "serving" not in served.events():
            start.outcomes.append(await faulty.ask(model))
            await asyncio.sleep(0.05)
    return start


async def answered_since(moment: float, outcomes: list[Outcome]) -> None:
    """Return when somebody who came after that moment has an answer."""
    await until(lambda: any(call.code == "OK" and call.began > moment for call in outcomes))


def check_absence(outcomes: list[Outcome], callers: int) -> None:
    """Nobody got a wrong answer; who failed was in flight when it happened, or was refused at once."""
    failed = [outcome for outcome in outcomes if outcome.code != "OK"]
    assert {(outcome.code, outcome.reason) for outcome in failed} == {("UNAVAILABLE", "ENGINE_UNAVAILABLE")}
    assert all(outcome.retry_seconds > 0 for outcome in failed)
    noticed = min(outcome.ended for outcome in failed)
    assert sum(outcome.began <= noticed for outcome in failed) <= callers
    refused = [outcome.seconds for outcome in failed if outcome.began > noticed]
    assert refused
    assert statistics.median(refused) < REFUSED_SECONDS
