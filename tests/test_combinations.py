"""What every kind of autoencoder promises, alone, on convolutions and combined with others."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from family import (
    KINDS,
    SIZES,
    DenoisingContractive,
    DenoisingSparse,
    DenoisingSparseContractive,
    DenoisingVariational,
    assert_gradients_are_slopes,
    bits,
    images,
)

import scratchae as sa
from scratchae import autoencoders as ae
from scratchae import backend, nn, optim

DENSE = [name for name in KINDS if "conv" not in name]
every_kind = pytest.mark.parametrize("kind", KINDS)
X = images()
SIGNED = ("mutual_information", "total_correlation", "dimensions", "discrepancy")  # estimates that may fall below 0
METHODS: dict[str, Callable[[Any, np.ndarray, int], np.ndarray]] = {
    "reconstruct": lambda m, x, b: m.reconstruct(x, batch_size=b),
    "transform": lambda m, x, b: m.transform(x, batch_size=b),
    "inverse_transform": lambda m, x, b: m.inverse_transform(m.transform(x), batch_size=b),
    "reconstruction_error": lambda m, x, b: m.reconstruction_error(x, batch_size=b),
}


# --- the loss -------------------------------------------------------------------------------------


@every_kind
def test_the_loss_is_the_sum_of_its_terms(kind: str) -> None:
    model = KINDS[kind].build()
    with sa.random.fixed_seed(1):
        terms = model.loss_terms(sa.Tensor(X))
    with sa.random.fixed_seed(1):
        loss = model.loss(sa.Tensor(X))
    assert set(terms) == set(KINDS[kind].terms)
    assert all(t.shape == () and t.dtype == np.float32 for t in terms.values())
    assert all(t.item() > 0 for name, t in terms.items() if name not in SIGNED)
    assert loss.item() == pytest.approx(sum(t.item() for t in terms.values()), rel=1e-6)


@pytest.mark.parametrize("kind", [name for name in DENSE if name != "adversarial"])  # see test_wider.py
def test_gradients_of_all_parameters_are_the_slopes(kind: str) -> None:
    x = images(3, np.float64)[..., :2, :2]
    assert_gradients_are_slopes(KINDS[kind].build(sizes=(4, 3, 2)), x)
    assert_gradients_are_slopes(KINDS[kind].build(sizes=(4, 2)), x, x**2)  # beside a clean target


@every_kind
def test_randomness_follows_the_seed(kind: str) -> None:
    def draw(seed: int) -> float:
        sa.manual_seed(seed)
        return model.loss(sa.Tensor(X)).item()

    model = KINDS[kind].build()
    assert draw(5) == draw(5)
    assert (draw(5) != draw(6)) == KINDS[kind].random
    before = model.loss(sa.Tensor(X)).item()
    assert (model.loss(sa.Tensor(X)).item() != before) == KINDS[kind].random  # a new draw at each step


@every_kind
def test_loss_backward_and_array_methods_on_every_device(kind: str, device: str) -> None:
    here = KINDS[kind].build()
    there = copy.deepcopy(here).to(device)
    losses = [here.loss(sa.Tensor(X)), there.loss(sa.tensor(X, device=device))]
    for loss in losses:
        loss.backward()
    assert losses[1].device == next(there.parameters()).device and math.isfinite(losses[1].item())
    for p, q in zip(here.parameters(), there.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        if q.grad is not None:
            assert type(q.grad) is type(q.data) and bool(backend.xp_of(q.grad).isfinite(q.grad).all())
            if not KINDS[kind].random:
                np.testing.assert_allclose(backend.to_device(q.grad, "cpu"), p.grad, rtol=1e-4, atol=1e-6)
    if not KINDS[kind].random:
        assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-5)
    for method in METHODS.values():
        found = method(there, backend.to_device(X, device), 3)
        assert type(found) is np.ndarray
        np.testing.assert_allclose(found, method(here, X, 3), rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(found, method(there, X, 3))  # arrays of the CPU are moved


# --- on arrays ------------------------------------------------------------------------------------


class Probe(nn.Module):
    """Notes what passes by."""

    def __init__(self) -> None:
        self.seen: set[tuple[bool, bool]] = set()

    def forward(self, x: Any) -> Any:
        self.seen.add((x.requires_grad, self.training))
        return x


@every_kind
def test_array_methods_give_the_same_in_any_batches(kind: str) -> None:
    model, x = KINDS[kind].build().to(np.float64), images(dtype=np.float64)
    wanted = {
        "reconstruct": model.eval()(sa.Tensor(x)).numpy(),
        "transform": model.encode(sa.Tensor(x)).numpy(),
        "inverse_transform": model.decode(model.encode(sa.Tensor(x))).numpy(),
        "reconstruction_error": ((model(sa.Tensor(x)).numpy() - x) ** 2).reshape(7, -1).mean(1),
    }
    for name, method in METHODS.items():
        for batch_size in (3, 1000):
            found = method(model.train(), x, batch_size)
            assert type(found) is np.ndarray and found.dtype == np.float64
            np.testing.assert_allclose(found, wanted[name], rtol=1e-12, atol=1e-15)
    assert wanted["reconstruct"].shape == (7, 1, 4, 4) and wanted["reconstruction_error"].shape == (7,)


@every_kind
@pytest.mark.parametrize("name", METHODS)
def test_array_methods_change_and_record_nothing(kind: str, name: str) -> None:
    model, probe = KINDS[kind].build(), Probe()
    model.encoder = nn.Sequential(*model.encoder, nn.Dropout(0.5), probe)
    model.decoder = nn.Sequential(probe, nn.Dropout(0.5), *model.decoder)
    model.encoder.eval()
    modes = [m.training for m in model.modules()]
    assert len(set(modes)) == 2
    state, random = bits(model), copy.deepcopy(sa.random.generator().bit_generator.state)
    np.testing.assert_array_equal(METHODS[name](model, X, 3), METHODS[name](model, X, 3))
    assert probe.seen == {(False, False)}
    assert [m.training for m in model.modules()] == modes and sa.is_grad_enabled()
    assert bits(model) == state and sa.random.generator().bit_generator.state == random
    assert all(p.grad is None for p in model.parameters())


@every_kind
@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_compute_the_same_and_are_apart(kind: str, way: Callable) -> None:
    model = KINDS[kind].build()
    twin = way(model)
    np.testing.assert_array_equal(twin.reconstruct(X), model.reconstruct(X))
    with sa.random.fixed_seed(1):
        loss = model.loss(sa.Tensor(X)).item()
    with sa.random.fixed_seed(1):
        assert twin.loss(sa.Tensor(X)).item() == loss
    before = bits(model)
    for p in twin.parameters():
        p.data[...] = 0
    assert bits(model) == before


@every_kind
def test_a_state_brings_a_fresh_model_to_the_same_numbers(kind: str) -> None:
    model, fresh = KINDS[kind].build(), KINDS[kind].build()
    assert not np.array_equal(fresh.reconstruct(X), model.reconstruct(X))
    fresh.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(fresh.reconstruct(X), model.reconstruct(X))
    np.testing.assert_array_equal(fresh.transform(X), model.transform(X))


def test_batchnorm_and_dropout_beneath_the_array_methods_on_every_device(device: str) -> None:
    encoder = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3), nn.Dropout(0.5))
    here = ae.Autoencoder(encoder, nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 16)))
    here(sa.Tensor(X))  # running statistics of its own
    there = copy.deepcopy(here).to(device)
    for method in METHODS.values():
        np.testing.assert_allclose(method(there, X, 3), method(here, X, 3), rtol=1e-4, atol=1e-6)


# --- training -------------------------------------------------------------------------------------


def fit(model: Any, data: Any, **options: Any) -> sa.History:
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    return sa.Trainer(model, optimizer).fit(data, **{"batch_size": 16, "progress": False, **options})


@every_kind
def test_a_few_epochs_lower_the_loss_and_record_every_term(kind: str) -> None:
    runs = []
    for _ in range(2):
        sa.manual_seed(0)
        model = KINDS[kind].build()
        history = fit(model, images(64), validation=images(20, seed=2), epochs=3)
        runs.append((bits(model), history["val_loss"]))
    names = [f"{prefix}{name}" for prefix in ("", "val_") for name in ("loss", *KINDS[kind].terms)]
    assert set(history) == {*names, "seconds", "images_per_second"} and {len(v) for v in history.values()} == {3}
    for prefix in ("", "val_"):
        sums = np.sum([history[prefix + name] for name in KINDS[kind].terms], axis=0)
        np.testing.assert_allclose(history[prefix + "loss"], sums, rtol=1e-12)
        assert history[prefix + "loss"][2] < history[prefix + "loss"][0]
    assert runs[0] == runs[1]  # the seed decides everything


@every_kind
def test_nan_in_the_data_stops_before_the_weights_change(kind: str) -> None:
    model, bad = KINDS[kind].build(), images(6)
    bad[4, 0, 1, 2] = math.nan
    before = bits(model)
    with pytest.raises(FloatingPointError, match="not finite, at step 1"):
        fit(model, bad)
    assert bits(model) == before


# --- mistakes -------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "pixels to 255": (lambda m: m.loss(sa.Tensor(X * 255)), r"\[0, 1\]: scale"),
    "5 x 5 images": (lambda m: m.loss(sa.Tensor(np.ones((2, 1, 5, 5), np.float32))), r"\(2, (25|12|1, 5, 5)\)"),
    "two channels": (lambda m: m.loss(sa.Tensor(np.ones((3, 2, 4, 4), np.float32))), r"\(3, (32|2, 4, 4)\)"),
    "target shape": (lambda m: m.loss(sa.Tensor(X), sa.Tensor(X[:3])), r"\(7, 1, 4, 4\).*\(3, 1, 4, 4\)"),
    "an empty batch": (lambda m: m.loss(sa.Tensor(X[:0])), r"empty"),
    **{
        f"empty to {name}": (lambda m, call=call: call(m, X[:0], 4), r"empty array of shape \(0, ")
        for name, call in METHODS.items()
    },
}  # fmt: skip


@every_kind
@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(kind: str, case: str) -> None:
    call, message = MISTAKES[case]
    with pytest.raises(ValueError, match=message):
        call(KINDS[kind].build())


@pytest.mark.parametrize("kind", DENSE)
def test_a_code_of_size_0_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"sizes=\(16, 5, 0\)"):
        KINDS[kind].build(sizes=(16, 5, 0))


# --- what combinations mean -----------------------------------------------------------------------


def test_a_combination_takes_the_options_of_both() -> None:
    model = DenoisingSparse.dense(SIZES, corruption="masking", amount=0.2, penalty="kl", target=0.1, weight=0.5)
    assert (model.corruption, model.amount, model.penalty, model.target, model.sparsity_weight) == (
        "masking", 0.2, "kl", 0.1, 0.5,
    )  # fmt: skip
    assert isinstance(model.encoder[-1], nn.Sigmoid)  # of the sparse one's `dense`
    model = DenoisingVariational.dense(SIZES, corruption="salt_and_pepper", amount=0.2, beta=3)
    assert (model.corruption, model.amount, model.beta, model.code_size) == ("salt_and_pepper", 0.2, 3.0, 3)
    with pytest.raises(TypeError, match="wieght"):
        DenoisingSparse.dense(SIZES, wieght=1.0)


def test_the_penalties_of_a_combination_are_those_of_the_damaged_input() -> None:
    model = DenoisingSparseContractive.dense(SIZES, corruption=lambda x: x / 2, weight=0.3).to(np.float64)
    model.contraction_weight = 0.7  # `weight` went to the first kind that has one
    x = sa.Tensor(images(dtype=np.float64))
    found = {name: term.item() for name, term in model.loss_terms(x).items()}
    half = sa.Tensor(x.data / 2)
    plain = ae.Autoencoder(model.encoder, model.decoder, "bce")
    assert found["reconstruction"] == pytest.approx(plain.loss(half, x).item(), rel=1e-12)
    contraction = ae.ContractiveAutoencoder(model.encoder, model.decoder, weight=0.7).loss_terms(half)["contraction"]
    sparsity = ae.SparseAutoencoder(model.encoder, model.decoder, weight=0.3).loss_terms(half)["sparsity"]
    assert found["contraction"] == pytest.approx(contraction.item(), rel=1e-12)
    assert found["sparsity"] == pytest.approx(sparsity.item(), rel=1e-12)


def test_a_clean_target_goes_past_every_kind_in_the_chain() -> None:
    model = DenoisingContractive.dense(SIZES, corruption="masking", amount=1.0).to(np.float64)
    noisy, clean = sa.Tensor(images(dtype=np.float64)), sa.Tensor(images(dtype=np.float64, seed=2))
    plain = ae.ContractiveAutoencoder(model.encoder, model.decoder, "bce")
    assert model.loss(noisy, clean).item() == plain.loss(noisy, clean).item()
