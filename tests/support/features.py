"""What a client program does, feature by feature, and how it tells the suite.

Client programs run in processes of their own, some with a Python that has nothing of ours installed,
so this module needs the standard library alone.
"""

from __future__ import annotations

import inspect
import json
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Feature = Callable[[], Any]


async def tell(client: str, features: Mapping[str, Feature]) -> None:
    """Use each feature, awaiting what is awaitable, and print what came of it as JSON.

    client: its name and version. A feature gives what JSON takes; one that raises fails alone.
    """
    outcomes = {name: await _outcome(feature) for name, feature in features.items()}
    print(json.dumps({"client": client, "outcomes": outcomes}))  # noqa: T201 - this is how it tells


async def settled(answer: Any) -> Any:
    """The answer of a synchronous client as it is, an asynchronous one's once it is there."""
    return await answer if inspect.isawaitable(answer) else answer


async def refusal(call: Awaitable[Any], kind: type[Exception], *parts: str) -> dict[str, str]:
    """The parts, which are methods of the exception, of what the call raises. Raises where it is answered."""
    try:
        answer = await call
    except kind as refused:
        return {part: str(getattr(refused, part)()) for part in parts}
    raise AssertionError(f"it was answered: {answer}")


async def _outcome(feature: Feature) -> dict[str, Any]:
    try:
        return {"answer": await settled(feature())}
    except Exception:  # noqa: BLE001 - the suite shows what it was, and the next feature has its turn
        return {"raised": traceback.format_exc()}
