"""TorchScript in C++, built by `make native` for the torch that is installed. Import torch before it."""

from collections.abc import Sequence

from seqserve.tensors import FloatArray

TORCH_VERSION: str
"""Of the torch that it was built for, such as `2.13.0`."""

class Graph:
    """A module of TorchScript that needs no Python to run. It may be let go of in any thread."""

    def __init__(self, torchscript: bytes, example_shape: Sequence[int], output_width: int) -> None:
        """torchscript: a frozen module. Raises RuntimeError where it cannot be read."""
    def run(self, batch: FloatArray, out: FloatArray) -> None:
        """One pass: batch [n, *example_shape] → out [n, output_width], which is written into; in any thread.
        Raises RuntimeError where the module fails, ValueError where out has another size."""
    @property
    def engine(self) -> object:
        """For `_native.Version`: the same passes, and the graph with them."""
