"""How models and histories show themselves in a notebook."""

from __future__ import annotations

import base64
import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import nn
from scratchae.history import History


def test_a_model_is_a_table_of_its_layers() -> None:
    class Odd(nn.Module):
        def describe(self) -> str:
            return "a < b"

    text = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), Odd()))._repr_html_()
    assert text.startswith("<b>Sequential, 16 parameters</b>")
    assert re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td[^>]*>(.*?)</td></tr>", text) == [
        ("0", "Linear(3, 4)", "16"), ("1.0", "ReLU()", "0"), ("1.1", "Odd(a &lt; b)", "0"),
    ]  # fmt: skip


def test_a_history_is_its_curves_and_numbers() -> None:
    text = History({"loss": [0.5, 0.4, 0.25], "val_loss": [0.6, 0.5, np.nan]})._repr_html_()
    picture = re.search("base64,([^']*)'", text)
    assert picture is not None and base64.b64decode(picture[1]).startswith(b"\x89PNG")
    assert "<th>epoch 1</th><th>epoch 3</th>" in text
    assert "<td>val_loss</td><td>0.6</td><td>nan</td>" in text
    assert History()._repr_html_() == "<i>no epochs yet</i>"


def fit(epochs: int) -> None:
    model = sa.Autoencoder.dense((6, 3))
    trainer = sa.Trainer(model, sa.optim.Adam(model.parameters()), [sa.LivePlot()])
    trainer.fit(np.random.default_rng(0).random((20, 6), dtype=np.float32), epochs=epochs, progress=False)


def test_a_live_plot_is_shown_once_and_then_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []

    def drawn(what: str) -> Any:
        return lambda figure, **_: calls.append((what, len(figure.axes[0].lines[0].get_xdata()))) or handle

    handle = SimpleNamespace()
    handle.update = drawn("update")
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=SimpleNamespace(display=drawn("display"))))
    fit(3)
    assert calls == [("display", 1), ("update", 2), ("update", 3)]


def test_a_live_plot_elsewhere_says_what_to_use() -> None:
    with pytest.raises(RuntimeError, match="notebook.*history.plot"):
        fit(1)
