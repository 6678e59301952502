"""Traces over OTLP, against a receiver that speaks its protocol: what a call's spans say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider

from seqserve.errors import EngineContractError
from seqserve.gateway import Gateway
from seqserve.otlp import OtlpTracing
from seqserve.pb import inference_pb2 as pb
from seqserve.repository.versions import ReadyVersion
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub
from support.otlp import CALLERS_SPAN_ID, PHASES, TRACE_ID, Receiver, attributes, receiving, traceparent
from support.rest import INFER, infer_document
from support.running import until

IMAGE = np.full((1, 2, 3), 0.25, np.float32)
SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT
ERROR, UNSET = Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET
OTHER_TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class World:
    """A traced gateway over `tiny` 1, who asks it, and where its spans go."""

    folder: Path
    engine: FakeEngine
    receiver: Receiver
    endpoint: str
    asking: list[asyncio.Task[Any]] = field(default_factory=list)

    @asynccontextmanager
    async def serving(self, **settings: Any) -> AsyncIterator[Gateway]:
        """The spans are there after the block."""
        archives, tracing = [make_archive(self.folder)], OtlpTracing(self.endpoint)
        async with running_gateway(archives, self.engine, tracing=tracing, **settings) as gateway:
            self.engine.headers.clear()
            self.gateway = gateway
            async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
                self.stub = inference_stub(channel)
                yield gateway

    def infer(self, request_id: str, *headers: tuple[str, str], rows: Any = IMAGE, **options: Any) -> Any:
        """A call that is under way."""
        timeout = options.pop("timeout", None)
        metadata = (("x-request-id", request_id), *headers)
        return self.stub.ModelInfer(infer_request(rows, **options), metadata=metadata, timeout=timeout)

    @property
    def ready(self) -> ReadyVersion:
        """The version that answers."""
        [version] = self.gateway.repository.versions()
        assert version.ready is not None
        return version.ready

    async def refused(self, call: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            await call


@pytest.fixture
async def world(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[World]:
    async with receiving() as (receiver, endpoint):
        yield World(tmp_path, engine, receiver, endpoint)


async def test_a_call_has_a_span_for_each_phase_in_its_callers_trace(world: World) -> None:
    async with world.serving():
        await world.infer("good", traceparent())

    call = world.receiver.call("good")
    phases = world.receiver.phases(call)
    assert (call.name, call.kind) == ("inference.GRPCInferenceService.ModelInfer", SERVER)
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE_ID, CALLERS_SPAN_ID)
    assert [phase.name for phase in phases] == PHASES
    world.receiver.check_order(call)
    said = attributes(call)
    assert (said["rpc.system.name"], said["rpc.response.status_code"]) == ("grpc", "OK")
    assert (said["seqserve.model"], said["seqserve.version"], said["seqserve.examples"]) == ("tiny", "1", 1)
    assert {attributes(phase)["seqserve.model"] for phase in phases} == {"tiny"}
    computed = attributes(world.receiver.phase(call, "compute"))
    assert (computed["seqserve.engine"], computed["seqserve.device"]) == ("fake", "cpu")
    assert (computed["seqserve.batch.examples"], computed["seqserve.batch.calls"]) == (1, 1)
    assert {span.status.code for span in world.receiver.spans()} == {UNSET}


async def test_phases_take_the_time_that_they_took(world: World) -> None:
    world.engine.seconds = 0.05
    async with world.serving():
        await asyncio.gather(world.infer("first"), world.infer("second"))

    spans = [world.receiver.phase(world.receiver.call(name), "compute") for name in ("first", "second")]
    assert all(span.end_time_unix_nano - span.start_time_unix_nano >= 45e6 for span in spans)


async def test_http_calls_have_the_same_phases(world: World) -> None:
    async with world.serving() as gateway, httpx.AsyncClient() as http:
        url, headers = f"http://127.0.0.1:{gateway.http_port}", dict([traceparent()])
        await http.post(url + INFER, json=infer_document(), headers=headers | {"x-request-id": "good"})
        await http.get(f"{url}/v2/models/nobody", headers=headers | {"x-request-id": "bad"})

    good, bad = world.receiver.call("good"), world.receiver.call("bad")
    assert (good.name, good.trace_id.hex()) == ("POST /v2/models/{model}/infer", TRACE_ID)
    assert [phase.name for phase in world.receiver.phases(good)] == PHASES
    world.receiver.check_order(good)
    assert (attributes(good)["http.response.status_code"], good.status.code) == (200, UNSET)
    assert (bad.name, bad.trace_id.hex()) == ("GET /v2/models/{model}", TRACE_ID)
    assert (attributes(bad)["http.response.status_code"], bad.status.code) == (404, UNSET)


async def test_what_callers_do_wrong_is_told_and_is_no_error_of_the_gateway(world: World) -> None:
    async with world.serving():
        await world.refused(world.infer("unknown", model="nobody"))
        await world.refused(world.infer("misshapen", rows=IMAGE[:, :1]))

    for name, code, kind in (
        ("unknown", "NOT_FOUND", "ModelNotFound"),
        ("misshapen", "INVALID_ARGUMENT", "InvalidRequest"),
    ):
        call = world.receiver.call(name)
        [event] = call.events
        told = attributes(event)
        assert (call.status.code, attributes(call)["rpc.response.status_code"]) == (UNSET, code)
        assert (event.name, told["exception.type"]) == ("exception", kind)
        assert "exception.stacktrace" not in told
        assert attributes(call)["error.type"] == kind
        assert world.receiver.phases(call) == []
    assert attributes(world.receiver.call("misshapen"))["seqserve.version"] == "1"


async def test_an_engine_that_fails_is_an_error_of_the_call_and_of_its_computing(world: World) -> None:
    async with world.serving():
        world.engine.fault = EngineContractError("nonsense")
        await world.refused(world.infer("failed"))

    call = world.receiver.call("failed")
    compute = world.receiver.phase(call, "compute")
    assert [phase.name for phase in world.receiver.phases(call)] == PHASES[:-1]
    assert (call.status.code, call.status.message) == (ERROR, "INTERNAL")
    assert (compute.status.code, compute.status.message) == (ERROR, "INTERNAL")
    assert "nonsense" in attributes(call.events[0])["exception.stacktrace"]
    world.receiver.check_order(call)


async def test_calls_of_one_batch_have_its_times_and_are_linked(world: World) -> None:
    async with world.serving():
        world.engine.hold()
        before = asyncio.ensure_future(world.infer("before"))
        await world.engine.entered.wait()
        parents = [traceparent(), traceparent(trace_id=OTHER_TRACE_ID)]
        calls = [asyncio.ensure_future(world.infer(f"call-{n}", parent)) for n, parent in enumerate(parents)]
        await until(lambda: world.ready.batcher.queued_examples == 2)
        world.engine.gate.set()
        await asyncio.gather(before, *calls)

    spans = [world.receiver.call(f"call-{n}") for n in range(2)]
    computed = sorted(
        (world.receiver.phase(span, "compute") for span in spans),
        key=lambda span: span.links[0].trace_id != span.trace_id,
    )
    assert {attributes(each)["seqserve.batch.calls"] for each in computed} == {2}
    assert {attributes(each)["seqserve.batch.examples"] for each in computed} == {2}
    assert {span.trace_id.hex() for span in computed} == {TRACE_ID, OTHER_TRACE_ID}
    for span in spans:
        world.receiver.check_order(span)
    linked = {each.span_id: [link.span_id for link in each.links] for each in computed}
    went_on = world.engine.headers[-1]["traceparent"].split("-")[2]
    [lead] = [each for each in computed if each.span_id.hex() == went_on]
    [other] = [each for each in computed if each is not lead]
    assert linked[lead.span_id] == [other.parent_span_id]
    assert linked[other.span_id] == [lead.span_id]
    assert (lead.kind, other.kind) == (CLIENT, CLIENT)


async def test_the_engine_hears_whose_batch_it_is(world: World) -> None:
    async with world.serving():
        await world.infer("sampled", traceparent())
        await world.infer("unsampled", traceparent(trace_id=OTHER_TRACE_ID, is_sampled=False))

    [call] = [span for span in world.receiver.spans() if span.kind == SERVER]
    compute = world.receiver.phase(call, "compute")
    sampled, unsampled = (headers["traceparent"] for headers in world.engine.headers)
    assert sampled == f"00-{TRACE_ID}-{compute.span_id.hex()}-01"
    assert unsampled.startswith(f"00-{OTHER_TRACE_ID}-")
    assert unsampled.endswith("-00")


async def test_a_request_of_several_batches_has_the_phases_of_each(world: World) -> None:
    async with world.serving():
        await world.infer("large", rows=np.repeat(IMAGE, 7, axis=0))

    call = world.receiver.call("large")
    phases = world.receiver.phases(call)
    assert sorted(phase.name for phase in phases) == sorted([*PHASES, "queue", "assembly", "compute"])
    sizes = [attributes(each)["seqserve.batch.examples"] for each in phases if each.name == "compute"]
    assert sum(sizes) == 7
    for phase in phases:
        assert call.start_time_unix_nano <= phase.start_time_unix_nano
        assert phase.end_time_unix_nano <= call.end_time_unix_nano


async def test_each_message_of_a_stream_is_a_call(world: World) -> None:
    async def messages() -> AsyncIterator[pb.ModelInferRequest]:
        for number in range(3):
            yield infer_request(IMAGE, id=str(number), model="nobody" if number == 1 else "tiny")

    async with world.serving():
        stream = world.stub.ModelStreamInfer(messages(), metadata=(("x-request-id", "s"), traceparent()))
        assert len([reply async for reply in stream]) == 3

    calls = [world.receiver.call(f"s.{number}") for number in range(3)]
    assert {call.trace_id.hex() for call in calls} == {TRACE_ID}
    assert [len(world.receiver.phases(call)) for call in calls] == [5, 0, 5]
    assert [attributes(call)["rpc.response.status_code"] for call in calls] == ["OK", "NOT_FOUND", "OK"]
    for call in calls:
        world.receiver.check_order(call)


async def test_a_caller_who_leaves_ends_its_spans_and_not_the_batch(world: World) -> None:
    async with world.serving():
        world.engine.hold()
        leaving = world.infer("left")
        await world.engine.entered.wait()
        leaving.cancel()
        await until(lambda: world.ready.calls == 0)
        world.engine.gate.set()
        await world.infer("next")

    left = world.receiver.call("left")
    compute = world.receiver.phase(left, "compute")
    assert attributes(left)["rpc.response.status_code"] == "CANCELLED"
    assert (compute.status.code, compute.status.message) == (ERROR, "CANCELLED")
    world.receiver.check_order(left)
    world.receiver.check_order(world.receiver.call("next"))


async def test_a_batch_that_takes_too_long_ends_with_its_calls(world: World) -> None:
    async with world.serving(max_batch_seconds=0.2):
        world.engine.hold()
        await world.refused(world.infer("overdue"))
        world.engine.gate.set()

    overdue = world.receiver.call("overdue")
    compute = world.receiver.phase(overdue, "compute")
    assert [phase.name for phase in world.receiver.phases(overdue)] == PHASES[:-1]
    assert (compute.status.code, compute.status.message) == (ERROR, "DEADLINE_EXCEEDED")
    assert (overdue.status.code, overdue.status.message) == (ERROR, "DEADLINE_EXCEEDED")
    world.receiver.check_order(overdue)


async def test_who_waits_for_a_batch_in_vain_has_waited_in_the_queue(world: World) -> None:
    async with world.serving():
        world.engine.hold()
        first = asyncio.ensure_future(world.infer("first"))
        await world.engine.entered.wait()
        await world.refused(world.infer("late", timeout=0.2))
        await until(lambda: world.ready.calls == 1)
        world.engine.gate.set()
        await first

    late = world.receiver.call("late")
    assert [phase.name for phase in world.receiver.phases(late)] == ["decode", "queue"]
    # The caller goes away at the same moment.
    assert attributes(late)["rpc.response.status_code"] in {"DEADLINE_EXCEEDED", "CANCELLED"}
    assert late.status.code == ERROR
    world.receiver.check_order(late)


async def test_a_caller_whose_trace_is_not_sampled_is_not_recorded(world: World) -> None:
    async with world.serving():
        await world.infer("unsampled", traceparent(is_sampled=False))
        await world.infer("own")

    assert {attributes(span).get("seqserve.request_id") for span in world.receiver.spans()} == {None, "own"}
    assert TRACE_ID not in {span.trace_id.hex() for span in world.receiver.spans()}


async def test_the_share_of_traces_is_opentelemetrys_variable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    async with world.serving():
        await world.infer("own")
        await world.infer("asked-for", traceparent())

    assert {span.trace_id.hex() for span in world.receiver.spans()} == {TRACE_ID}
    assert len(world.receiver.phases(world.receiver.call("asked-for"))) == 5


async def test_who_sends_and_with_what_is_opentelemetrys_variables(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "digits")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a-team")
    async with world.serving():
        await world.infer("good")

    resource = world.receiver.resource
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("digits", "test")
    assert resource["service.version"]
    assert world.receiver.headers[0]["x-tenant"] == "a-team"


async def test_without_these_variables_the_service_is_called_seqserve(world: World) -> None:
    async with world.serving():
        await world.infer("good")

    assert world.receiver.resource["service.name"] == "seqserve"


async def test_our_clients_pass_the_active_trace_on(world: World, twin: Any) -> None:
    tracer = TracerProvider().get_tracer("caller")
    async with world.serving() as gateway, twin(f"127.0.0.1:{gateway.grpc_port}") as client:
        with tracer.start_as_current_span("order") as order:
            await client.predict(IMAGE, model="tiny", request_id="order")
        await client.predict(IMAGE, model="tiny", request_id="alone")

    call = world.receiver.call("order")
    assert call.trace_id.hex() == trace.format_trace_id(order.get_span_context().trace_id)
    assert call.parent_span_id.hex() == trace.format_span_id(order.get_span_context().span_id)
    assert world.receiver.call("alone").parent_span_id == b""
