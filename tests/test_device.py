"""The same code on every device: equal numbers, nothing mixed, nothing copied or waited for in secret."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from op_table import SHAPES, Input, Op, cases, op, positive, real, unit

import scratchae as sa
from scratchae import Autoencoder, backend, optim
from scratchae import functional as F
from scratchae.autograd import Tensor, grad, no_grad, tensor
from scratchae.debug import advice as advice_texts


def arrays(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.2, 0.9, shape).astype(np.float32) for shape in shapes]


# Rows of the table that mix NumPy's arrays with Tensors, which a device refuses, or that draw random numbers.
CPU_ONLY = ("where", "bitwise_and reflected", *(f"dropout {shape}" for shape in SHAPES))
M = (3, 4)


def row(name: str, f: Callable[..., Any], *inputs: Input) -> Op:
    return op(name, f, f, *inputs)


ONLY_HERE = [
    row("where", lambda x, y: F.where(x > 0.5, x, y), real(*M), real(*M)),
    row("* NumPy number", lambda x: x * np.float64(2), real(*M)),
    row("power of three exponents", lambda x: x**3 + x**0.5 + 2**x, positive(*M)),
    row("conv2d few outputs", lambda x, w: F.conv2d(x, w, None, 1, 1), real(2, 4, 5, 4), real(1, 4, 3, 3)),
    row("sum_of_squares transposed", lambda x: F.sum_of_squares(x.T), real(*M)),
    row("getitem own mask", lambda x: x[x > 0.5], real(*M)),
    row("astype float64", lambda x: x.astype("float64") * 2, real(*M)),
    row("kl_div log_softmax", lambda x, y: F.kl_div(F.log_softmax(x), y), real(*M), unit(*M)),
]
CASES = [c for c in cases() if c.name not in CPU_ONLY and not c.name.startswith("ndarray")] + ONLY_HERE


def values_and_gradients(op: Op, device: str) -> list[np.ndarray]:
    inputs = [tensor(a, requires_grad=True, device=device) for a in op.arrays(np.float32)]
    out = op.f(*inputs)
    assert out.device == inputs[0].device and type(out.data) is type(inputs[0].data)
    if not op.differentiable:
        return [out.numpy()]
    out.backward(tensor(np.cos(np.arange(out.size)).reshape(out.shape), dtype=out.dtype, device=device))
    for t in inputs:
        assert type(t.grad) is type(t.data) and (t.grad.shape, t.grad.dtype) == (t.shape, t.dtype)
    return [out.numpy(), *(backend.to_device(t.grad, "cpu") for t in inputs)]


def test_the_rows_that_run_on_the_device_cover_every_function() -> None:
    assert set(F.__all__) - {c.name.split()[0] for c in CASES} == set()


@pytest.mark.parametrize("op", CASES, ids=lambda op: op.name)
def test_operator_gives_the_same_numbers_on_every_device(op: Op, device: str) -> None:
    for here, there in zip(values_and_gradients(op, "cpu"), values_and_gradients(op, device), strict=True):
        assert here.dtype == there.dtype
        scale = max(1.0, np.abs(here).max(initial=0.0))
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6 * scale)


def test_cross_entropy_with_labels_on_the_device(device: str) -> None:
    logits = tensor(arrays(1, (3, 4))[0], requires_grad=True, device=device)
    loss = F.cross_entropy(logits, tensor([0, 3, 3], dtype=np.int64, device=device))
    loss.backward()
    expected = F.softmax(logits).numpy() - np.eye(4)[[0, 3, 3]]
    np.testing.assert_allclose(backend.to_device(logits.grad, "cpu"), expected / 3, rtol=1e-4, atol=1e-6)


def test_argmax_comparisons_and_printing(device: str) -> None:
    t = tensor([[1, 3, 2], [6, 5, 4]], device=device)
    assert t.argmax(axis=1).tolist() == [1, 0] and t.argmin().item() == 0
    assert ((t > 2) == (t >= 3)).numpy().all()
    assert [row.tolist() for row in t] == t.tolist()
    assert ("device='gpu:0'" in repr(t)) == (device == "gpu")


def test_second_derivatives_on_the_device(device: str) -> None:
    x = tensor([0.5, 2.0], requires_grad=True, device=device)
    (slope,) = grad([(x**3).sum()], [x], create_graph=True)
    np.testing.assert_allclose(grad(slope.sum(), x).numpy(), [3.0, 12.0], rtol=1e-5)


def test_gradients_accumulate_on_the_device(device: str) -> None:
    w, b, x = (tensor(a, requires_grad=True, device=device) for a in arrays(3, (5, 4), (5,), (2, 4)))
    for _ in range(2):
        F.linear(x, w, b).sum().backward()
    np.testing.assert_allclose(backend.to_device(b.grad, "cpu"), np.full(5, 4.0))
    w.grad = w.grad * 2
    assert type(w.grad) is type(w.data)


# --- between devices ------------------------------------------------------------------------------


def test_to_is_differentiable_both_ways(device: str) -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    y = (x * 2).to(device)
    z = (y * 3).to("cpu")
    (z * z).sum().backward()
    assert y.device.startswith(device) and z.device == "cpu"
    np.testing.assert_allclose(x.grad, 72 * x.data)
    there = tensor([1.0, 2.0], requires_grad=True, device=device)
    there.to("cpu").sum().backward()
    assert type(there.grad) is type(there.data)


def test_to_where_it_is_already_gives_the_tensor_itself(device: str) -> None:
    t = tensor([1.0], device=device)
    assert t.to(device) is t and t.to(t.device) is t


def test_tensor_on_a_device_is_a_copy(device: str) -> None:
    source = np.ones(3, np.float32)
    t = tensor(source, device=device)
    source[:] = 5
    assert t.tolist() == [1, 1, 1]


MIXED = {
    "add": lambda x, y: x + y,
    "maximum": lambda x, y: F.maximum(x, y),
    "matmul": lambda x, y: x @ y,
    "linear": lambda x, y: F.linear(x, y),
    "concatenate": lambda x, y: F.concatenate([x, y]),
    "where": lambda x, y: F.where(x > 0, x, y),
    "mse_loss": lambda x, y: F.mse_loss(x, y),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("boxed", [True, False], ids=["tensors", "tensor and array"])
def test_mixing_devices_names_which_operand_is_where(name: str, boxed: bool, stand_in: Any) -> None:
    here, there = tensor(np.eye(2)), tensor(np.eye(2), device="gpu")
    with pytest.raises(ValueError, match=r"operand \d is on cpu.*operand \d is on gpu:0.*\.to\("):
        MIXED[name](here if boxed else here.data, there)
    with pytest.raises(ValueError, match=r"operand \d is on gpu:0.*operand \d is on cpu.*\.to\("):
        MIXED[name](there, here if boxed else here.data)


def test_a_gradient_from_another_device_is_refused(stand_in: Any) -> None:
    t = tensor([1.0, 2.0], requires_grad=True, device="gpu")
    with pytest.raises(ValueError, match="different devices"):
        t.grad = np.ones(2, np.float32)
    with pytest.raises(ValueError, match="different devices"):
        (t * 2).backward(np.ones(2, np.float32))


def test_numbers_and_lists_follow_the_tensor(device: str) -> None:
    t = tensor([1.0, 2.0], requires_grad=True, device=device)
    (t + [1, 2]).backward([2, 3])
    (t.sum() * 2).backward(5.0)
    assert type(t.grad) is type(t.data)
    assert backend.to_device(t.grad, "cpu").tolist() == [12, 13]


def test_nothing_converts_implicitly(stand_in: Any) -> None:
    data = tensor([1.0, 2.0], device="gpu").data
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(data)
    for mix in (lambda: np.ones(2) + data, lambda: data * np.ones(2), lambda: np.add(np.ones(2), data)):
        with pytest.raises(TypeError, match="Unsupported type"):
            mix()
    assert tensor([1.0, 2.0], device="gpu").numpy().tolist() == [1, 2]  # asked for


def test_the_stand_in_offers_no_more_than_its_list(stand_in: Any) -> None:
    with pytest.raises(AttributeError, match="not in the list"):
        stand_in.nonsense  # noqa: B018
    with pytest.raises(TypeError):
        stand_in.sum(stand_in.ones(2), where=True)


# --- names and absences ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cuda", "GPU", "gpu:", "gpu:x", "gpu:-1", "gpu:0:1", "", "cpu:0"])
def test_unknown_device_names_are_refused(name: str, stand_in: Any) -> None:
    with pytest.raises(ValueError, match="expected 'cpu', 'gpu' or 'gpu:<number>'"):
        tensor([1.0]).to(name)


def test_gpu_number_too_large(stand_in: Any) -> None:
    assert tensor([1.0], device="gpu:0").device == "gpu:0"
    with pytest.raises(RuntimeError, match=r"'gpu:1' asked for.* has 1 GPU\(s\)"):
        tensor([1.0], device="gpu:1")


@pytest.mark.parametrize(
    ("driver", "advice"),
    [
        (None, "looked for libcuda.so.1 and nvcuda.dll"),
        (12, r"pip install 'scratchae\[cuda12\]'"),
        (13, r"pip install 'scratchae\[cuda13\]'"),
    ],
)
def test_without_cupy_the_error_says_what_to_do(
    driver: int | None, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # makes `import cupy` fail
    monkeypatch.setattr(advice_texts, "_cuda_driver_version", lambda: driver)
    assert not backend.gpu_available()
    with pytest.raises(RuntimeError, match=advice):
        tensor([1.0]).to("gpu")
    assert backend.xp_of(np.ones(1)) is np


@pytest.mark.parametrize(
    ("error", "driver", "advice"),
    [
        ("cudaErrorInsufficientDriver", None, r"\(cudaErrorInsufficientDriver\) and an NVIDIA driver; looked for"),
        ("cudaErrorInsufficientDriver", 12, r"speaks CUDA 12; look whether nvidia-smi .*'scratchae\[cuda12\]'"),
        ("cudaErrorNoDevice", 13, r"\(cudaErrorNoDevice\)\. .* speaks CUDA 13; .*'scratchae\[cuda13\]'"),
        (None, 13, "reports no device; stay on 'cpu'"),
    ],
)
def test_cupy_without_a_working_gpu(
    error: str | None, driver: int | None, advice: str, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_device_count() -> int:
        if error:
            raise RuntimeError(error)
        return 0

    monkeypatch.setattr(stand_in.cuda.runtime, "getDeviceCount", get_device_count)
    monkeypatch.setattr(advice_texts, "_cuda_driver_version", lambda: driver)
    asks = [
        lambda: tensor([1.0], device="gpu"),
        lambda: sa.nn.Linear(2, 2).to("gpu:1"),
        lambda: list(sa.DataLoader(np.ones((4, 2)), 2, device="gpu:99")),
        lambda: sa.random.generator("gpu"),
    ]
    for ask in asks:
        with pytest.raises(RuntimeError, match=f"^device 'gpu' .*{advice}"):
            ask()
    assert not backend.gpu_available()


# --- random numbers, and waiting ------------------------------------------------------------------


def test_manual_seed_repeats_what_the_device_draws(device: str) -> None:
    def draw() -> list:
        generator = sa.random.generator(tensor([0.0], device=device).device)
        dropped = F.dropout(tensor(np.ones(8), device=device), 0.5)
        values = [generator.random((4,), dtype=np.float32), generator.standard_normal((4,), dtype=np.float32)]
        return [backend.to_device(a, "cpu").tolist() for a in (*values, dropped.data)]

    first = draw()
    assert draw() != first
    sa.random.manual_seed(0)
    assert draw() == first
    with sa.random.fixed_seed(0):
        assert draw() == first


def test_a_device_has_one_generator_by_whatever_name(stand_in: Any) -> None:
    assert sa.random.generator("gpu") is sa.random.generator("gpu:0")


def test_random_functions_take_bare_arrays(device: str) -> None:
    data = tensor(np.ones(8), device=device).data
    assert type(F.dropout(data, 0.5)) is type(data)


@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss"])
def test_forward_and_backward_never_wait_for_the_gpu(loss: str, stand_in: Any) -> None:
    shapes = [(6, 4), (6,), (4, 6), (4,), (8, 4)]
    w1, b1, w2, b2, x = (tensor(a, requires_grad=True, device="gpu") for a in arrays(5, *shapes))
    for step in (0, 1):  # the first makes the gradients, the second adds to them
        stand_in.counts.reset()
        hidden = F.dropout(F.relu(F.linear(x, w1, b1)), 0.2)
        getattr(F, loss)(F.sigmoid(F.linear(hidden, w2, b2)), x.detach()).backward()
        assert stand_in.counts.synchronisations == 0, f"step {step}"
        assert 10 < stand_in.counts.launches < 60


OPTIMISERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: optim.Adam(p, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p),
    "RMSprop": lambda p: optim.RMSprop(p, momentum=0.9, centered=True),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_training_takes_the_same_steps_and_the_optimiser_never_waits(name: str, stand_in: Any) -> None:
    (x,), counts, found = arrays(7, (8, 6)), stand_in.counts, []
    for device in ("cpu", "gpu"):
        sa.random.manual_seed(0)
        model = Autoencoder.dense((6, 4, 2)).to(device)
        optimizer = OPTIMISERS[name](model.parameters())
        for _ in range(3):
            loss = model.loss(tensor(x, device=device))
            counts.reset()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert counts.synchronisations == 0
        found.append([p.numpy() for p in model.parameters()])
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)


def test_a_gradient_that_somebody_kept_is_not_overwritten(device: str) -> None:
    p = tensor([1.0, 2.0], requires_grad=True, device=device)
    optimizer = optim.SGD([p], lr=0.1)
    optimizer.zero_grad()
    (p * p).sum().backward()
    kept = p.grad
    optimizer.zero_grad()
    (p * 5).sum().backward()
    assert backend.to_device(kept, "cpu").tolist() == [2, 4]


def test_losses_wait_only_to_check_ranges(stand_in: Any) -> None:
    x = tensor(arrays(6, M)[0], device="gpu")
    counts = stand_in.counts
    counts.reset()
    F.binary_cross_entropy_with_logits(x, x)
    assert counts.synchronisations <= 2  # the target's smallest and largest
    with no_grad():
        counts.reset()
        assert isinstance(x.sum().item(), float) and counts.synchronisations == 1
    assert Tensor(x.data).data is x.data
