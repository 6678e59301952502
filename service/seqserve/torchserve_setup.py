"""From settings to an engine over TorchServe: one of our own, or those that somebody else runs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog

from seqserve.archive import claimed_signatures
from seqserve.cores import available_cores
from seqserve.engines.base import EngineObserver, Presence
from seqserve.engines.torchserve.addresses import parse_addresses
from seqserve.engines.torchserve.channels import Tls
from seqserve.engines.torchserve.config import TorchServePorts, TorchServeSettings
from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.engines.torchserve.engine import ManagedOptions, TorchServeEngine
from seqserve.engines.torchserve.external import ExternalEngine
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.server import TorchServeServer
from seqserve.engines.torchserve.shared_token import SharedToken
from seqserve.engines.torchserve.supervisor import Supervisor
from seqserve.engines.torchserve.tokens import NoTokens, TokenFile
from seqserve.engines.torchserve.wire import needed_message_bytes
from seqserve.errors import SettingsInvalid
from seqserve.golden import Golden
from seqserve.message_size import FLOOR_BYTES
from seqserve.settings import Settings
from seqserve.trust_setup import trust_of

log = structlog.get_logger()

MINUTE_SECONDS = 60.0
FEWEST_AT_ONCE = 2  # so that a version that does not come up keeps nobody waiting
RESPONSE_SLACK_SECONDS = 2
"""The gateway gives up on a batch before TorchServe gives up on its worker."""


@asynccontextmanager
async def managed_engine(
    settings: Settings,
    archives: Sequence[Path],
    presence: Presence,
    observer: EngineObserver,
    on_gone: Callable[[], None],
) -> AsyncIterator[TorchServeEngine]:
    """A TorchServe of our own for the length of the block, and the engine over it.

    It is supervised or, with exit_with_torchserve, missed: on_gone is called when it ends.
    archives: what will be loaded; message limits fit them.
    Raises DependencyMissing, SettingsInvalid, AddressInUse or StartFault.
    """
    _check_apart(settings)
    async with AsyncExitStack() as stack:
        server = TorchServeServer(await asyncio.to_thread(server_settings, settings, archives))
        stack.push_async_callback(server.stop)
        endpoint = await server.start()
        engine = TorchServeEngine(endpoint, presence, observer=observer, options=_options(settings))
        engine.watch.on_hung = server.kill
        stack.push_async_callback(engine.aclose)
        sharing = _sharing(settings, endpoint)
        if settings.exit_with_torchserve:
            care = _miss(server, engine, on_gone)
        else:
            care = Supervisor(server, on_down=engine.watch.note_down, on_up=engine.watch.note_up).run()
        await stack.enter_async_context(_running(care, engine.watch.run(), engine.renewal.run(), *sharing))
        yield engine


def _sharing(settings: Settings, endpoint: TorchServeEndpoint) -> list[Coroutine[None, None, None]]:
    """What keeps the shared token, if it is to be shared; it is written already. Raises SettingsInvalid."""
    if settings.torchserve_share_token is None:
        return []
    shared = SharedToken(endpoint.tokens.path, settings.torchserve_share_token)
    shared.share()
    return [shared.run()]


async def _miss(server: TorchServeServer, engine: TorchServeEngine, on_gone: Callable[[], None]) -> None:
    status = await server.ended()
    engine.watch.note_down()
    log.error("torchserve ended, and so does the gateway", status=status)
    on_gone()


def _check_apart(settings: Settings) -> None:
    """TorchServe's folder is emptied when it ends: the store must not lie in it. Raises SettingsInvalid."""
    folder, store = settings.torchserve_folder, settings.model_store.resolve()
    if folder is not None and store.is_relative_to(folder.resolve()):
        raise SettingsInvalid(
            f"torchserve_folder: {folder} holds the model store {settings.model_store}",
            hint="name a folder of its own",
        )


def server_settings(settings: Settings, archives: Sequence[Path]) -> TorchServeSettings:
    """How the managed TorchServe runs; its message limits fit the archives."""
    largest = needed_message_bytes(claimed_signatures(archives, trust_of(settings)))
    return TorchServeSettings(
        folder=settings.torchserve_folder,
        host=settings.torchserve_host,
        ports=TorchServePorts(
            http=settings.torchserve_http_port,
            management=settings.torchserve_management_port,
            metrics=settings.torchserve_metrics_port,
            grpc=settings.torchserve_grpc_port,
            grpc_management=settings.torchserve_grpc_management_port,
        ),
        max_message_bytes=max(settings.max_message_bytes or FLOOR_BYTES, largest),
        intra_op_threads=settings.intra_op_threads,
        token_minutes=settings.torchserve_token_minutes,
        is_cpu_only=settings.device == "cpu",
    )


@asynccontextmanager
async def external_engine(settings: Settings, presence: Presence) -> AsyncIterator[ExternalEngine]:
    """An engine over the TorchServes of `torchserve_address`. Raises SettingsInvalid."""
    addresses = parse_addresses(settings.torchserve_address)
    file = settings.torchserve_token_file
    tokens = TokenFile(file) if file is not None else NoTokens()
    tls = Tls(_root_certificates(settings), addresses[0].host) if settings.torchserve_tls else None
    device = settings.device if settings.device.startswith("cuda") else "cpu"
    engine = ExternalEngine(
        Predictions(
            tokens, tls, authority=settings.torchserve_address.strip() if len(addresses) == 1 else ""
        ),
        addresses,
        presence,
        workers=settings.torchserve_workers,
        device=device,
        check_seconds=settings.max_batch_seconds,
        golden_of=Golden.of,
    )
    try:
        async with _running(engine.run()):
            yield engine
    finally:
        await engine.aclose()


def _options(settings: Settings) -> ManagedOptions:
    return ManagedOptions(
        workers=settings.torchserve_workers,
        response_seconds=_response_seconds(settings.max_batch_seconds),
        own_response_seconds={
            name: _response_seconds(section.max_batch_seconds)
            for name, section in settings.models.items()
            if section.max_batch_seconds
        },
        token_seconds=settings.torchserve_token_minutes * MINUTE_SECONDS,
        healed_at_once=max(FEWEST_AT_ONCE, available_cores()),
    )


def _response_seconds(max_batch_seconds: float) -> int:
    return math.ceil(max_batch_seconds) + RESPONSE_SLACK_SECONDS


def _root_certificates(settings: Settings) -> bytes | None:
    path = settings.torchserve_tls_ca
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsInvalid(f"torchserve_tls_ca: {path}: {error.strerror}") from error


@asynccontextmanager
async def _running(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do the work beside the block."""
    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(_tell_fault)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tell_fault(task: asyncio.Task[None]) -> None:
    """None of them ends by itself; one that does has a bug, and nobody waits for it to hear of that."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.critical("torchserve is not looked after any more: restart the gateway", exc_info=error)
