"""What runs inside the other servers, in environments of their own: torch is there, nothing of ours is."""

FILE_VARIABLE = "BENCH_TORCHSCRIPT"
SIZE_VARIABLE = "BENCH_EXAMPLE_BYTES"
