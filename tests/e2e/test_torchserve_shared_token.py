"""A gateway that may ask a managed TorchServe for predictions, and for nothing else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from seqserve.engine_setup import Unheard
from seqserve.engines.base import EngineObserver
from seqserve.errors import SettingsInvalid
from seqserve.torchserve_setup import managed_engine
from support.gateway import settings_for_tests
from support.running import until

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ts") is None, reason="the extra `torchserve` is not installed"
)
ANY_PORT = dict.fromkeys(
    [f"torchserve_{name}_port" for name in ("http", "management", "metrics", "grpc", "grpc_management")], 0
)
WAIT_SECONDS = 60
REFUSED = 400


async def test_the_shared_token_predicts_manages_nothing_and_is_renewed(tmp_path: Path) -> None:
    shared = tmp_path / "inference_token"
    settings = settings_for_tests(engine="torchserve", torchserve_share_token=shared, **ANY_PORT)
    with capture_logs() as logs:
        async with (
            managed_engine(settings, [], Unheard(), EngineObserver(), lambda: None),
            httpx.AsyncClient(timeout=WAIT_SECONDS) as http,
        ):
            told = next(entry for entry in logs if entry["event"] == "torchserve started")
            ping, models = f"{told['http']}/ping", f"{told['management']}/models"
            first = shared.read_text()
            assert (await http.get(ping, headers=bearing(first))).status_code == httpx.codes.OK
            assert (await http.get(models, headers=bearing(first))).status_code == REFUSED

            api_key = api_key_in(Path(told["tokens"]))
            renew = f"{told['management']}/token?type=inference"
            assert (await http.get(renew, headers=bearing(first))).status_code >= REFUSED
            assert (await http.get(renew, headers=bearing(api_key))).status_code == httpx.codes.OK
            await until(lambda: shared.read_text() != first)
            assert (await http.get(ping, headers=bearing(shared.read_text()))).status_code == httpx.codes.OK

    assert not shared.exists()


async def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    settings = settings_for_tests(
        engine="torchserve", torchserve_share_token=tmp_path / "nowhere" / "token", **ANY_PORT
    )

    with pytest.raises(SettingsInvalid, match="torchserve_share_token"):
        async with managed_engine(settings, [], Unheard(), EngineObserver(), lambda: None):
            pass


def api_key_in(keys: Path) -> str:
    return str(json.loads(keys.read_bytes())["API"]["key"])


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.strip()}"}
