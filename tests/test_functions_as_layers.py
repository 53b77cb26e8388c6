"""Functions between the layers of a Sequential: what is shown, saved, copied, compared and refused."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


class Doubling:
    """An object that is called like a function."""

    def __call__(self, x: Any) -> Any:
        return x * 2


def chain() -> nn.Sequential:
    leaky = functools.partial(F.leaky_relu, slope=0.2)
    return nn.Sequential(nn.Linear(3, 4), F.relu, nn.Sequential(leaky, nn.Linear(4, 2)), Doubling())


def test_a_function_computes_what_its_layer_computes() -> None:
    net = nn.Sequential(nn.Linear(3, 4), F.relu, nn.Linear(4, 2))
    twin = nn.Sequential(net[0], nn.ReLU(), net[2])
    np.testing.assert_array_equal(net(X), twin(X))
    grads = [sa.grad((n(sa.Tensor(X)) ** 2).sum(), list(net.parameters())) for n in (net, twin)]
    for a, b in zip(*grads, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert net[1](X).max() == 1 and len(net) == 3 and type(net[1:][0]) is type(net[1])


def test_functions_are_shown_by_their_names(capsys: pytest.CaptureFixture) -> None:
    net = chain()
    lines = [line.strip().partition("  #")[0] for line in repr(net).splitlines()]
    assert lines == [
        "Sequential()", "(0): Linear(3, 4)", "(1): Function(relu)", "(2): Sequential()",
        "(0): Function(leaky_relu, slope=0.2)", "(1): Linear(4, 2)", "(3): Function(Doubling)",
    ]  # fmt: skip
    net.summary((3,))
    table = capsys.readouterr().out
    assert "1 Function(relu)" in table and "2.0 Function(leaky_relu, slope=0.2)" in table
    assert "Function(relu)" in net._repr_html_()
    assert repr(nn.Sequential(functools.partial(F.add, y=X))) == (
        "Sequential()\n  (0): Function(add, y=ndarray of shape (4, 3))"
    )


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_compute_the_same(way: Callable) -> None:
    net = chain()
    np.testing.assert_array_equal(way(net)(X), net(X))
    assert repr(way(net)) == repr(net)


def run(path: Path, function: Callable[..., Any], epochs: int) -> sa.History:
    sa.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 3), function, nn.Linear(3, 3))
    trainer = sa.Trainer(net, optim.SGD(net.parameters(), lr=0.1), loss=F.mse_loss)
    return trainer.fit((X, X), epochs=epochs, checkpoint=path, resume=True, progress=False)


OTHERS: dict[str, tuple[Callable, Callable, str]] = {
    "a name": (F.relu, F.tanh, r"model\.1\.function 'tanh', not 'relu'"),
    "a layer": (F.relu, nn.ReLU(), r"model\.1 'ReLU', not 'Function'"),
    "an option": (functools.partial(F.elu, alpha=1.0), functools.partial(F.elu, alpha=2.0), r"'alpha': 2.0"),
    "the code of a lambda": (lambda x: x * 2, lambda x: x + 2, r"model\.1\.function"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_run_goes_on_with_the_same_functions_only(name: str, tmp_path: Path) -> None:
    first, other, told = OTHERS[name]
    path = tmp_path / "run"
    run(path, first, 1)
    with pytest.raises(ValueError, match=told) as caught:
        run(path, other, 2)
    assert "layers" not in str(caught.value)  # the difference is told once
    assert len(run(path, first, 2)["loss"]) == 2


def outside(x: Any) -> Any:
    return LAYER(x)


LAYER = nn.Linear(3, 3)
HIDDEN: dict[str, tuple[Callable, str]] = {
    "a method": (LAYER.forward, "forward has a Linear"),
    "a global": (outside, "outside has a Linear"),
    "a closure": ((lambda layer: lambda x: layer(x))(nn.Linear(3, 3)), "<lambda> has a Linear"),
    "a partial": (functools.partial(F.linear, weight=LAYER.weight), r"shape \(3, 3\) has a Parameter"),
    "inside a partial": (functools.partial(outside), "outside has a Linear"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_function_that_hides_parameters_is_refused(name: str) -> None:
    function, told = HIDDEN[name]
    with pytest.raises(TypeError, match=told) as caught:
        nn.Sequential(nn.ReLU(), function)
    assert "neither trained nor saved; give the module itself" in str(caught.value)


mean = nn.Linear(3, 3)


def test_a_method_that_is_named_like_a_module_hides_nothing() -> None:
    net = nn.Sequential(lambda x: x.mean(axis=1))
    np.testing.assert_array_equal(net(X), X.mean(axis=1))


def test_an_error_in_a_function_names_its_place() -> None:
    with pytest.raises(ValueError, match="layer 1: "):
        nn.Sequential(nn.ReLU(), functools.partial(F.reshape, shape=(5, 5)))(X)


def test_a_decoder_that_ends_in_the_function_sigmoid_is_refused_before_a_loss_on_logits() -> None:
    with pytest.raises(ValueError, match="applies a sigmoid itself, but the decoder ends in one"):
        sa.Autoencoder(nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 3), F.sigmoid), loss="bce_logits")
