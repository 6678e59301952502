"""The zoo: what each network is, and that its archive answers on every path and in every accepted shape."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seqserve.archive import read_archive
from seqserve.engines.base import FloatArray
from seqserve.engines.embedded import EmbeddedEngine
from seqserve.golden import check_golden
from seqserve.signature import Signature
from seqserve.tensors import RawTensor, decode
from seqserve.trust import UNCHECKED
from seqserve_models.build import BuildResult, build
from seqserve_models.export import load
from seqserve_models.handler import Handler
from seqserve_models.plan import BuildSettings
from seqserve_models.zoo import find_model
from seqserve_models.zoo.digit_bottleneck import bottleneck
from seqserve_models.zoo.digit_mlp import digit_mlp, digit_mlp_by_position
from seqserve_models.zoo.digit_parity import to_parity
from support.handler import FakeContext, over_http

NAMES = ("digit_nested", "digit_bottleneck", "digit_parity")
SHAPES = {"flat": (784,), "HW": (28, 28), "CHW": (1, 28, 28), "HWC": (28, 28, 1)}
IMAGES = np.random.default_rng(5).random((5, 28, 28), np.float32)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BuildResult]:
    """The models after one epoch, by name; digit_parity brings digit_mlp with it."""
    results = build(NAMES, BuildSettings(output=tmp_path_factory.mktemp("zoo"), epochs=1))
    return {result.name: result for result in results}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Engines and handlers set torch's threads for the whole program."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def handler_of(path: Path, folder: Path) -> Handler:
    """The handler over an unpacked archive, as TorchServe starts it."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    context = FakeContext(folder, [])
    context.manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_bytes())
    loaded = Handler()
    loaded.initialize(context)
    return loaded


# ---- digit_mlp, defined twice ----


def test_a_network_by_names_and_by_position_is_one_function_of_its_weights() -> None:
    named, numbered = digit_mlp(), digit_mlp_by_position()
    numbered.load_state_dict(dict(zip(numbered.state_dict(), named.state_dict().values(), strict=True)))
    with torch.no_grad():
        assert torch.equal(named(torch.ones(1, 784)), numbered(torch.ones(1, 784)))
        images = torch.from_numpy(IMAGES.reshape(-1, 784))
        assert torch.equal(named(images), numbered(images))


def test_names_and_positions_give_other_keys_so_neither_loads_the_others_weights() -> None:
    named, numbered = digit_mlp(), digit_mlp_by_position()
    assert list(named.state_dict()) == ["h1.weight", "h1.bias", "out.weight", "out.bias"]
    assert list(numbered.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "0\.weight"'):
        numbered.load_state_dict(named.state_dict())


# ---- digit_nested ----


def test_nested_layers_are_addressed_by_the_path_of_their_names() -> None:
    module = find_model("digit_nested").build()
    first = module.get_submodule("seq_1.0")
    assert isinstance(first, nn.Linear)
    assert first.in_features == 784
    assert {"seq_1.0.weight", "seq_1.0.bias", "seq_2.0.weight"} <= module.state_dict().keys()


# ---- digit_bottleneck ----


def test_a_bottleneck_squeezes_to_a_quarter_and_keeps_height_and_width() -> None:
    block = bottleneck(3, 16)
    convolutions = {name: part for name, part in block.state_dict().items() if part.ndim == 4}
    assert {name: tuple(part.shape) for name, part in convolutions.items()} == {
        "reduce.0.weight": (4, 3, 1, 1),
        "spatial.0.weight": (4, 4, 3, 3),
        "expand.0.weight": (16, 4, 1, 1),
    }
    assert block(torch.rand(2, 3, 5, 7)).shape == (2, 16, 5, 7)


def test_a_bottleneck_is_three_sequentials_and_used_twice() -> None:
    module = find_model("digit_bottleneck").build()
    for name in ("block1", "block2"):
        parts = list(module.get_submodule(name).children())
        assert [type(part) for part in parts] == [nn.Sequential] * 3


@pytest.mark.parametrize("channels", [30, 2, 0, -4])
def test_a_width_that_four_does_not_divide_is_refused(channels: int) -> None:
    with pytest.raises(ValueError, match=rf"^channels {channels}; accepted: 4 or more, divisible by 4$"):
        bottleneck(16, channels)


def test_a_bottleneck_without_channels_to_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^channels_in 0; accepted: at least 1$"):
        bottleneck(0, 16)


# ---- digit_parity ----


def test_a_trained_network_is_edited_by_index_slice_and_append() -> None:
    digits = find_model("digit_mlp").build()
    weights = {name: tensor.clone() for name, tensor in digits.state_dict().items()}
    parity = to_parity(digits)
    assert {name: type(layer).__name__ for name, layer in parity.named_children()} == {
        "h1": "Linear", "relu1": "Sequential", "out": "Linear", "3": "ReLU", "4": "Linear", "5": "Softmax",
    }  # fmt: skip
    assert isinstance(parity.get_submodule("relu1.1"), nn.Sigmoid)
    assert all(torch.equal(parity.state_dict()[name], tensor) for name, tensor in weights.items())
    assert [name for name, one in parity.named_parameters() if not one.requires_grad] == [
        "h1.weight",
        "h1.bias",
    ]
    assert parity(torch.rand(3, 784)).shape == (3, 2)
    assert [name for name, _ in digits.named_children()] == ["h1", "relu1", "out", "softmax"]  # as it was


def test_the_first_layer_of_parity_is_the_one_that_was_trained_for_digits(
    archives: dict[str, BuildResult],
) -> None:
    base, parity = (
        torch.load(archives[name].path.with_name(f"{name}-1.checkpoint.pt"), weights_only=True)["state_dict"]
        for name in ("digit_mlp", "digit_parity")
    )
    assert torch.equal(base["h1.weight"], parity["h1.weight"])
    assert not torch.equal(base["out.weight"], parity["out.weight"])


# ---- line ----


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """The line, built with its own recipe."""
    (result,) = build(["line"], BuildSettings(output=tmp_path_factory.mktemp("line")))
    return result


def test_the_line_finds_its_weight_and_bias(straight: BuildResult) -> None:
    checkpoint = torch.load(straight.path.with_name("line-1.checkpoint.pt"), weights_only=True)
    weight, bias = (checkpoint["state_dict"][name].item() for name in ("0.weight", "0.bias"))
    assert (weight, bias) == pytest.approx((0.7, 0.3), abs=0.01)
    assert straight.evaluation.metrics["mean_absolute_error"] < 0.02


async def test_a_value_is_served_as_it_is(straight: BuildResult, tmp_path: Path) -> None:
    archive = read_archive(straight.path, UNCHECKED)
    engine = EmbeddedEngine(device="cpu")
    try:
        model = await engine.load(archive)
        values = np.array([-3, 0, 1, 10], np.float32)  # [4]: four examples of the shape []
        rows = decode(RawTensor("x", "FP32", (4,), values.tobytes()), archive.signature)
        answers = await model.infer(rows)
    finally:
        await engine.aclose()
    np.testing.assert_allclose(answers[:, 0], 0.7 * values + 0.3, atol=0.1)

    status, reply = over_http(
        handler_of(straight.path, tmp_path), json.dumps([10.0]).encode(), {"Content-Type": "application/json"}
    )
    assert status == 200
    assert reply["predictions"] == [[pytest.approx(float(answers[3, 0]), abs=1e-5)]]


# ---- the archives ----


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_built_again_elsewhere_has_the_same_bytes(
    name: str, archives: dict[str, BuildResult], tmp_path: Path
) -> None:
    *_, again = build([name], BuildSettings(output=tmp_path / "another place", epochs=1))
    assert again.path.read_bytes() == archives[name].path.read_bytes()


@pytest.mark.parametrize(
    ("name", "own"), [("digit_nested", "flat"), ("digit_bottleneck", "CHW"), ("digit_parity", "flat")]
)
def test_the_signature_says_the_models_own_shape_and_the_three_others(
    name: str, own: str, archives: dict[str, BuildResult]
) -> None:
    signature = read_archive(archives[name].path, UNCHECKED).signature
    assert signature.layouts[signature.input.example_shape] == own
    assert signature.layouts == {shape: layout for layout, shape in SHAPES.items()}


@pytest.mark.parametrize("name", NAMES)
async def test_a_served_archive_passes_its_golden_check(name: str, archives: dict[str, BuildResult]) -> None:
    archive = read_archive(archives[name].path, UNCHECKED)
    engine = EmbeddedEngine(device="cpu")
    try:
        assert await check_golden(archive, await engine.load(archive), "cpu") <= 1e-5
    finally:
        await engine.aclose()


@pytest.mark.parametrize("name", NAMES)
async def test_the_gateway_answers_the_same_in_all_four_shapes(
    name: str, archives: dict[str, BuildResult]
) -> None:
    archive = read_archive(archives[name].path, UNCHECKED)
    engine = EmbeddedEngine(device="cpu")
    try:
        model = await engine.load(archive)
        answers = [await model.infer(decode_images(archive.signature, shape)) for shape in SHAPES.values()]
    finally:
        await engine.aclose()
    assert answers[0].shape == (5, len(archive.signature.labels))
    assert np.ptp(answers[0], axis=0).max() > 1e-4  # it does look at the image
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])


def decode_images(signature: Signature, shape: tuple[int, ...]) -> FloatArray:
    """The images as a caller sends them in one shape, as the gateway hands them to the model."""
    return decode(RawTensor("image", "FP32", (len(IMAGES), *shape), IMAGES.tobytes()), signature)


@pytest.mark.parametrize("name", NAMES)
def test_the_handler_answers_the_same_in_all_four_shapes_as_the_torchscript_does(
    name: str, archives: dict[str, BuildResult], tmp_path: Path
) -> None:
    handler = handler_of(archives[name].path, tmp_path)
    own = torch.from_numpy(IMAGES.reshape(-1, *find_model(name).input_shape))
    with torch.inference_mode():
        expected = load(read_archive(archives[name].path, UNCHECKED).torchscript)(own).numpy()
    answers = []
    for shape in SHAPES.values():
        document = {"instances": IMAGES.reshape(-1, *shape).tolist()}
        status, reply = over_http(
            handler, json.dumps(document).encode(), {"Content-Type": "application/json"}
        )
        assert status == 200
        answers.append([one["probabilities"] for one in reply["predictions"]])
    np.testing.assert_allclose(answers[0], expected, atol=1e-5)
    assert answers == answers[:1] * 4


def test_batch_norm_is_archived_for_evaluation(archives: dict[str, BuildResult]) -> None:
    script = read_archive(archives["digit_bottleneck"].path, UNCHECKED).torchscript
    module = load(script)
    images = torch.from_numpy(IMAGES[:, None])
    with torch.inference_mode():
        together = module(images)
        alone = torch.cat([module(image[None]) for image in images])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)  # whoever is in the batch


# ---- how well they do ----


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "least"),
    [("digit_mlp", 0.97), ("digit_nested", 0.97), ("digit_bottleneck", 0.985), ("digit_parity", 0.95)],
)
def test_the_mean_accuracy_of_three_seeds_holds(name: str, least: float, tmp_path: Path) -> None:
    results = [build([name], BuildSettings(output=tmp_path, seed=seed))[-1] for seed in (0, 1, 2)]
    assert np.mean([result.evaluation.metrics["accuracy"] for result in results]) >= least
