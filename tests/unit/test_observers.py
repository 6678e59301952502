"""Several observers hear what one would."""

from __future__ import annotations

import inspect
from unittest.mock import Mock, create_autospec

import pytest

from seqserve.batching.observers import Observers, VersionObserver

METHODS = [name for name, _ in inspect.getmembers(VersionObserver, inspect.isfunction) if name[0] != "_"]


@pytest.mark.parametrize("method", METHODS)
def test_everything_is_passed_on_to_each(method: str) -> None:
    observers: list[Mock] = [create_autospec(VersionObserver, instance=True) for _ in range(2)]
    named = list(inspect.signature(getattr(VersionObserver, method)).parameters)[1:]

    getattr(Observers(observers), method)(*named)

    for observer in observers:
        assert [call[0] for call in observer.method_calls] == [method]
        assert getattr(observer, method).call_args.args == tuple(named)
