"""Everything that the dashboard shows, as it happens to targets of one Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.played_page import played_page
from support.scraped import Target, change_configuration, plain_target
from support.scraped_guarded import GuardedTarget, guarded_target


@dataclass
class Scene:
    """All targets. plain: by front."""

    plain: dict[str, Target]
    guarded: GuardedTarget
    played: str

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """As in `scrape_configs`."""
        targets = [*(target.instance for target in self.plain.values()), self.played]
        return [{"job_name": "seqserve", "static_configs": [{"targets": targets}]}, self.guarded.job]

    async def suffer(self) -> None:
        """All that happens, once."""
        async with asyncio.TaskGroup() as group:
            for target in self.plain.values():
                group.create_task(target.suffer())
        for token in (*self.guarded.tokens.of_scope.values(), self.guarded.tokens.wrong):
            await self.guarded.ask(token)


@asynccontextmanager
async def staged(folders: dict[str, Path]) -> AsyncIterator[Scene]:
    """All targets; one has changed its configuration, one its certificates.

    folders: of the fronts, python among them, and `guarded`; they exist.
    """
    async with AsyncExitStack() as stack:
        plain = {
            front: await stack.enter_async_context(plain_target(folder, front))
            for front, folder in folders.items()
            if front != "guarded"
        }
        guarded = await stack.enter_async_context(guarded_target(folders["guarded"]))
        await change_configuration(plain["python"], folders["python"])
        await guarded.change_certificates()
        yield Scene(plain, guarded, stack.enter_context(played_page()))
