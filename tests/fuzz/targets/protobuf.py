"""The bytes of a gRPC inference request: to rows, or InvalidRequest; counted as the parser counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import DecodeError, Message

from fuzz.replies import prediction
from fuzz.signatures import NAMES, SIGNATURES
from fuzz.target import Cursor, Target, check_words
from fuzz.targets.tensors import check_rows
from seqserve.errors import InvalidRequest
from seqserve.grpc_api import field_count, predictions
from seqserve.grpc_api.oip_tensors import TYPED, input_tensor, put_answer, timeout_seconds
from seqserve.pb import inference_pb2 as oip
from seqserve.pb.v1 import prediction_pb2 as own
from seqserve.signature import Signature
from seqserve.tensors import RawTensor, decode, split_bytes
from support.anything import Anything
from support.contract import Case, cases, content_of

OIP, OWN, COUNTED = range(3)
MESSAGE = oip.DESCRIPTOR.message_types_by_name["ModelInferRequest"]
FEW_FIELDS, FEW_BYTES, MOST_MESSAGE_BYTES = 32, 8, 256
"""The limits of the field count, made so small that short inputs reach them."""


def check(data: bytes) -> None:
    """Read a body as one of both APIs does, or count it."""
    cursor = Cursor(data)
    mode, signature = cursor.choice((OIP, OWN, COUNTED)), SIGNATURES[cursor.choice(NAMES)]
    try:
        if mode == COUNTED:
            _check_count(cursor.rest())
        elif mode == OIP:
            _check_oip(cursor.rest(), signature)
        else:
            _check_own(cursor.rest(), signature)
    except InvalidRequest as refused:
        check_words(refused)
    except DecodeError:
        return


def _check_oip(body: bytes, signature: Signature) -> None:
    request = oip.ModelInferRequest.FromString(body)
    timeout_seconds(request, None)
    _check_rows(input_tensor(request, signature), signature)
    reply = oip.ModelInferResponse()
    put_answer(reply, request, prediction(signature))
    assert reply.outputs[0].name == signature.output.name
    reply.SerializeToString()


def _check_own(body: bytes, signature: Signature) -> None:
    request = own.PredictRequest.FromString(body)
    content = predictions._content(request, signature)  # noqa: SLF001 - the way from the message to the predictor
    if isinstance(content, RawTensor):
        _check_rows(content, signature)
    predictions._reply(prediction(signature), request.top_k or 1, "id").SerializeToString()  # noqa: SLF001


def _check_rows(tensor: RawTensor, signature: Signature) -> None:
    if tensor.datatype == "BYTES":
        split_bytes(tensor, signature)
    else:
        check_rows(decode(tensor, signature), signature)


def _check_count(body: bytes) -> None:
    """What passes the count holds no more, once parsed, than it allows."""
    with _small_limits():
        field_count.check_field_count(body, MESSAGE, MOST_MESSAGE_BYTES)
        request = oip.ModelInferRequest.FromString(body)
        if len(body) > field_count.SHORT_BYTES:
            assert _parts(request) <= FEW_FIELDS
            _check_lists(request)


def _parts(message: Message) -> int:
    """Submessages and byte strings in lists, which take the memory."""
    count = 0
    for field, value in message.ListFields():
        if field.message_type is None:
            count += len(value) if field.is_repeated and isinstance(value[0], bytes | str) else 0
            continue
        inner = value.values() if field.message_type.GetOptions().map_entry else value
        for one in inner if field.is_repeated else [value]:
            count += 1 + _parts(one)
    return count


def _check_lists(request: oip.ModelInferRequest) -> None:
    wide = sum(len(tensor.shape) for tensor in request.inputs)
    for tensor in request.inputs:
        wide += len(tensor.contents.int64_contents) + len(tensor.contents.uint64_contents)
        for field, _ in TYPED.values():
            assert (
                field == "bytes_contents"
                or len(getattr(tensor.contents, field)) <= MOST_MESSAGE_BYTES + FEW_FIELDS * FEW_BYTES
            )
    assert wide <= FEW_FIELDS * (FEW_BYTES + 1)


@contextmanager
def _small_limits() -> Iterator[None]:
    kept = field_count.SHORT_BYTES, field_count.MAX_FIELDS, field_count.WIDE_BYTES
    field_count.SHORT_BYTES, field_count.MAX_FIELDS, field_count.WIDE_BYTES = FEW_BYTES, FEW_FIELDS, FEW_BYTES
    try:
        yield
    finally:
        field_count.SHORT_BYTES, field_count.MAX_FIELDS, field_count.WIDE_BYTES = kept


def _seeds_of(case: Case) -> list[bytes]:
    signature, index = SIGNATURES[case["signature"]], NAMES.index(case["signature"])
    if not all(-(2**63) <= size < 2**63 for size in case["shape"]):
        return []
    request = oip.ModelInferRequest(model_name="m", raw_input_contents=[content_of(case)])
    request.inputs.add(name=signature.input.name, datatype=case["datatype"], shape=case["shape"])
    tensor = own.Tensor(datatype=case["datatype"], shape=case["shape"], content=content_of(case))
    predict = own.PredictRequest(model="m", tensor=tensor, top_k=2)
    whole = request.SerializeToString()
    return [
        bytes([OIP, index]) + whole,
        bytes([COUNTED, index]) + whole,
        bytes([OWN, index]) + predict.SerializeToString(),
    ]


def seeds() -> list[bytes]:
    """The contract's tensors as messages, and messages that are wrong in many ways."""
    anything = Anything(1, 0.3)
    found = [seed for case in cases("decoding.json") for seed in _seeds_of(case)]
    found += [bytes([OIP, NAMES.index("tiny_image")]) + anything.message().body for _ in range(60)]
    return [seed for seed in found if len(seed) <= TARGET.max_bytes]


TARGET = Target(
    "protobuf",
    check,
    seeds,
    (
        b"FP32", b"BF16", b"UINT8", b"BYTES", b"image", b"probabilities", b"classification", b"timeout",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x22\x00", b"\x2a\x00", b"\x3a\x00", b"sequence_id",
    ),
)  # fmt: skip
