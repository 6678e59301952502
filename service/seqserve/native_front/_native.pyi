"""The C++ side of the native front as Python sees it; service/native/python_edge binds it.

Times are nanoseconds of time.monotonic_ns() unless they say otherwise; NEVER is a deadline that nobody has.
Nothing here waits with Python's lock held.
"""

from collections.abc import Callable, Sequence
from typing import Any

from numpy import float32
from numpy.typing import NDArray

FloatArray = NDArray[float32]
Metadata = Sequence[tuple[str, str | bytes]]
NEVER: int

class Refused(Exception):
    """A request that may not wait.

    args: (reason, waiting_rows, retry_after_ns, memory_bytes). reason: `full`, `deadline`, `expired`,
    `overdue`, `away`, `closing`, as in seqserve.batching.admission. memory_bytes: that the version's rows may
    take, where they have taken it and `full` is not the queue; 0 otherwise.
    """

class LimitFault(ValueError):
    """A limit of a Version for which there is not enough staging memory.

    args: (field, came, accepted). field: `max_batch_rows` or `max_request_rows`. accepted: the most that
    there is room for.
    """

class Desk:
    """What native threads have to tell; readable as a file when something lies here.

    Each piece of news is a tuple whose first element says what it is:

    ("answered", request, ending, rows, queue_ns, compute_ns, batch_rows, fault): a request of Version.submit;
      ending: `answered`, `engine_failed`, `expired`, `overdue` (its batch), `stuck` (it waited behind one),
      `away`, `closing`; rows [n, output width] a copy, None unless answered; fault: the number that
      `compute` raised with EngineFault, or 0.
    ("overdue", version, rows), ("recovered", version, ns, fault), ("failed", version, rows, fault): a batch.
    ("called", call, path, metadata, timeout_ns, message): a call that is Python's; message None for streams.
    ("message", call_id, message): what Call.read has read; None once the caller has sent all.
    ("written", call_id, is_written): Call.write is done.
    ("over", call_id, is_cancelled): the call has ended, nothing of it is to come.
    ("streamed", call, path, metadata, timeout_ns, number, message): one message of a native stream that is
      Python's.
    ("internal", model, version, path, request_id, fault): a hot request ended as INTERNAL, for the log;
      fault as above, 0 for an output that did not pass its checks.
    ("internal_left_out", requests): so many more ended so, beyond those that the desk takes at once.
    """

    def __init__(self) -> None: ...
    def fileno(self) -> int: ...
    def take(self, most: int) -> list[tuple[Any, ...]]:
        """What lies there, the oldest first and at most so many, up to a piece of news for which there is no
        memory. That one is tried again the next time; where it fails as the first, it raises and is gone, and
        the others stay."""

class EngineFault(Exception):
    """What `compute` raises; args: (fault, code, words, reason, retry_after_ns).

    fault: a number that Python knows the error by. code: gRPC's, as an int. words, reason: for callers,
    unless the code is INTERNAL. retry_after_ns: -1 where no RetryInfo goes with it.
    """

class Runners:
    """Compute slots: batches run in the threads that call `work`, first due, first served."""

    def __init__(self) -> None: ...
    def work(self) -> None:
        """Run batches until `stop`."""
    def stop(self) -> None: ...

class BatchLedger:
    """What became of a version's batches; it outlives the version."""

    def __init__(self, seconds_bounds_ns: Sequence[int], examples_bounds: Sequence[int]) -> None: ...
    def read(self) -> dict[str, Any]:
        """assembly, compute, examples: (buckets, sum); reasons, dropped, refused: by name as in
        seqserve.batching.admission; by_size: {examples: (count, assembly_ns, compute_ns, split_ns)}."""

class Version:
    """One version's queue."""

    def __init__(
        self,
        desk: Desk,
        runners: Runners,
        ledger: BatchLedger,
        number: int,
        *,
        input_width: int,
        output_width: int,
        max_batch_rows: int,
        max_queue_rows: int,
        max_request_rows: int,
        max_queue_delay_ns: int,
        max_batch_ns: int,
        compute: Callable[[FloatArray, FloatArray], None],
        allocate: Callable[[int], FloatArray | None] | None = None,
        runs_anywhere: bool = False,
        engine: object | None = None,
    ) -> None:
        """number: what the news call it. compute: rows [n, input width] in, writes [n, output width]; raises
        EngineFault; called on a thread of `runners`. Both arrays are valid during the call only.
        allocate: memory for so many floats, pinned perhaps, for the first three buffers; None for the host's.
        What it raises is raised. runs_anywhere: each batch ends by itself, so that the server's thread may
        compute those that prove quick (below half a millisecond) instead of handing them over. engine: a
        Graph's, which computes the batches without Python; one that it throws at goes to `compute`. Raises
        LimitFault, and ValueError for limits that no request could pass and for an engine that is none."""
    def open(self) -> None: ...
    def pause(self) -> None: ...
    def close(self) -> None: ...
    def abort(
        self, code: int | None = None, words: str = "", reason: str = "", retry_after_ns: int = -1
    ) -> None:
        """What callers of the hot path hear, as in EngineFault; a default where code is None."""
    def wait_drained(self, most_ns: int) -> bool: ...
    def check(self, rows: int, deadline: int) -> None:
        """Raises Refused as `submit` would."""
    def submit(self, request: int, parts: Sequence[FloatArray], deadline: int) -> None:
        """parts: [n_i, input width] FP32, C-contiguous. Raises Refused. The answer comes to the desk."""
    def leave(self, request: int) -> bool:
        """True: the answer will not come any more."""
    @property
    def waiting_rows(self) -> int: ...

class RequestLedger:
    """What became of the requests that the hot path answered for a version; it outlives the version."""

    def __init__(self, seconds_bounds_ns: Sequence[int]) -> None: ...
    def read(self) -> dict[str, Any]:
        """codes: {gRPC code: requests}; examples, compute_ns, failed, failed_ns, answered_at_ms, in_flight;
        request, decode, queue, encode: (buckets, sum)."""

class Served:
    """A version as the hot path answers for it."""

    def __init__(
        self,
        version: Version,
        ledger: RequestLedger,
        *,
        model: str,
        number: str,
        input_name: str,
        shapes: Sequence[tuple[Sequence[int], bool]],
        minimum: float | None,
        maximum: float | None,
        max_examples: int,
        output_name: str,
        output_shape: Sequence[int],
        receipt: Sequence[tuple[str, str]],
        sum_tolerance: float | None,
    ) -> None:
        """shapes: of an example, with whether its elements lie in the model's own order. receipt: further
        text parameters of each reply. sum_tolerance: probabilities are to sum to 1 so closely; None for
        other outputs."""

class Call:
    """A call that Python answers. Every call ends with `reply` or `finish`, unless it is over before."""

    @property
    def id(self) -> int: ...
    def read(self) -> None:
        """The next message comes to the desk; one at a time."""
    def write(self, message: bytes) -> None:
        """`written` comes to the desk; one at a time."""
    def reply(self, message: bytes, trailing: Metadata) -> None:
        """The one reply of a unary call, and OK."""
    def finish(self, code: int, words: str, trailing: Metadata) -> None: ...

class StreamCall:
    """A native stream of which Python answers some messages."""

    @property
    def id(self) -> int: ...
    def answer(self, number: int, reply: bytes) -> None:
        """The reply to a message that was `streamed`."""
    def refuse(self, code: int, words: str, trailing: Metadata) -> None:
        """End the stream with that status, once what it has taken is answered; take nothing more."""

class Server:
    """The gRPC listener."""

    def __init__(
        self,
        desk: Desk,
        runners: Runners,
        *,
        options: Sequence[tuple[str, int]],
        max_message_bytes: int,
        default_timeout_ns: int,
        max_timeout_ns: int,
        max_python_calls: int,
        max_python_bytes: int,
    ) -> None:
        """options: of gRPC's core; `grpc.max_allowed_incoming_connections` holds with each version of it.
        max_python_calls: calls that Python may have under way. max_python_bytes: of their messages that have
        no answer, at least max_message_bytes. What is beyond them is refused here as RESOURCE_EXHAUSTED.
        runners: the server's thread computes by itself what it brings and what is quick, see Version."""
    def listen(
        self, address: str, identity: Callable[[], tuple[bytes, bytes, bytes | None] | None] | None
    ) -> int:
        """The port. identity: None for plaintext; else called at each handshake, in any thread: PEM of key,
        chain and client CA, or None where nothing has changed since the last call; the first call must
        give one. Raises OSError, with its reason as strerror, where it cannot listen."""
    def route(self, table: Sequence[tuple[str, str, Served]]) -> None:
        """What the hot path serves from now on: (model, version as a caller writes it, what answers). Once it
        returns no request is being bound to what was served before."""
    def set_hot(self, is_hot: bool) -> None:
        """Whether there is a hot path at all; otherwise every call is Python's."""
    def drain(self) -> None:
        """Refuse hot requests as shutting down, and end each native stream once it has answered what it
        took."""
    @property
    def turned_away(self) -> int:
        """Hot requests that were refused since `drain`."""
    @property
    def refused_calls(self) -> int:
        """Inference requests that were refused as RESOURCE_EXHAUSTED because of max_python_calls or
        max_python_bytes: calls, and messages of native streams. They are in no RequestLedger."""
    def stop(self, grace_ns: int) -> None:
        """Refuse new calls, wait so long for those in flight, cancel the rest, join the thread."""

def library_version() -> str:
    """Of the gRPC C++ that this was built with."""
