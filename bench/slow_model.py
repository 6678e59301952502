"""A model of at least 5 ms a batch, whatever is in it: `python -m bench.slow_model STORE NAME`.

It multiplies matrices that no input changes; so the machine can be asked for more than the model can do, and
not for more than a front can take up.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

from seqserve_models.interface_file import InterfaceFile
from seqserve_models.package import PackageSettings, package_torchscript

VALUES = 16
SIDE, PRODUCTS = 512, 5
"""A core multiplies two such matrices in 2 to 6 ms."""
MAX_BATCH = 8


class Slow(nn.Module):
    """FP32 [n, 16] to [n, 1]: the mean, after work that is always the same."""

    def __init__(self) -> None:
        super().__init__()
        self.products = PRODUCTS
        torch.manual_seed(0)
        self.turn = nn.Parameter(torch.linalg.qr(torch.randn(SIDE, SIDE))[0], requires_grad=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The products stay of length 1, and count for nothing."""
        # They start from the input, else they would be computed once, when the model is loaded.
        product = self.turn * (values.sum() * 0.0 + 1.0)
        for _ in range(self.products):
            product = torch.mm(product, self.turn)
        return values.mean(dim=1, keepdim=True) + product.sum() * 0.0


def package(store: Path, name: str) -> None:
    """Write the archive. Raises BuildError."""
    described = InterfaceFile.model_validate(
        {
            "name": name,
            "task": "regression",
            "input": {"name": "values", "shape": [-1, VALUES]},
            "output": {"name": "mean", "shape": [-1, 1]},
            "max_batch_size": MAX_BATCH,
        }
    )
    with tempfile.TemporaryDirectory(prefix="seqserve-slow-") as folder:
        file = Path(folder, f"{name}.pt")
        torch.jit.save(torch.jit.script(Slow().eval()), file)
        package_torchscript(file, described, PackageSettings(output=store))


if __name__ == "__main__":
    package(Path(sys.argv[1]), sys.argv[2])
