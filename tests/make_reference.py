"""Write reference.npz: what PyTorch computes for the cases below (`python tests/make_reference.py`; needs torch).

Each case is one function of a library, PyTorch or scratchae, that returns arrays by name. This file runs them on
PyTorch, test_reference.py on scratchae; only where the two spell a thing differently does a line of `Torch` say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("reference.npz")
DTYPES = ("float32", "float64")
CASES: dict[str, Callable[[Any], dict[str, Any]]] = {}

# --- operators and losses: the value, and the gradient of every input -----------------------------


def differentiated(f: Callable, *names: str, constants: tuple[str, ...] = ()) -> Callable[[Any], dict[str, Any]]:
    def case(lib: Any) -> dict[str, Any]:
        inputs = {name: lib.leaf(lib.inputs[name]) for name in names}
        out = f(lib.F, *inputs.values(), *(lib.constant(lib.inputs[name]) for name in constants))
        cotangent = np.cos(np.arange(np.prod(out.shape, dtype=int))).reshape(tuple(out.shape))
        (out * lib.constant(cotangent)).sum().backward()
        return {"out": out, **{f"grad {name}": x.grad for name, x in inputs.items()}}

    return case


for name in """exp expm1 sin cos tanh sigmoid softplus relu elu gelu leaky_relu abs softmax log_softmax""".split():
    CASES[name] = differentiated(
        lambda F, x, name=name: getattr(F, name)(x, *([-1] if "softmax" in name else [])), "x"
    )  # fmt: skip
for name in ("log", "log1p", "sqrt"):
    CASES[name] = differentiated(lambda F, p, name=name: getattr(F, name)(p), "p")
for name in ("maximum", "minimum", "mse_loss", "l1_loss"):
    CASES[name] = differentiated(lambda F, x, y, name=name: getattr(F, name)(x, y), "x", "y")
for name in ("sum", "mean", "logsumexp", "var", "max", "min", "norm"):
    for axis in (0, 1, (0, 1)):
        CASES[f"{name} {axis}"] = differentiated(lambda F, x, name=name, a=axis: getattr(F, name)(x, a), "x")
CASES |= {
    "power": differentiated(lambda F, p, x: p**x, "p", "x"),
    "divide": differentiated(lambda F, x, p: x / p, "x", "p"),
    "max with ties": differentiated(lambda F, x: F.max(x, 1), "ties"),
    "maximum with ties": differentiated(lambda F, x: F.maximum(x, F.relu(x)), "ties"),
    "clip": differentiated(lambda F, x: x.clip(-0.5, 0.5), "x"),
    "matmul": differentiated(lambda F, b, w: b @ w.T, "batch", "w"),
    "matmul, stacks": differentiated(lambda F, b: b @ b.swapaxes(1, 2), "batch"),
    "linear": differentiated(lambda F, x, w, b: F.linear(x, w, b), "x", "w", "b"),
    "linear, more axes": differentiated(lambda F, x, w: F.linear(x, w), "batch", "w"),
    "getitem": differentiated(lambda F, x: x[[2, 0, 2]][:, 1:4], "x"),
    "softmax, axis": differentiated(lambda F, x: F.softmax(x, 0), "x"),
    "elu, alpha": differentiated(lambda F, x: F.elu(x, 0.7), "x"),
    "leaky_relu, slope": differentiated(lambda F, x: F.leaky_relu(x, 0.2), "x"),
    "large logits": differentiated(lambda F, x: F.log_softmax(x * 1000, -1), "x"),
}
PAIRED = {"mse_loss": "xy", "l1_loss": "xy", "binary_cross_entropy": "uv", "binary_cross_entropy_with_logits": "xu"}
for (name, (a, b)), reduction in product(PAIRED.items(), ("mean", "sum", "none")):
    CASES[f"{name} {reduction}"] = differentiated(
        lambda F, x, t, name=name, r=reduction: getattr(F, name)(x, t, reduction=r), a, b
    )
for reduction in ("mean", "sum", "none", "batchmean"):
    for log in (False, True):
        CASES[f"kl_div {reduction} log_target={log}"] = differentiated(
            lambda F, x, t, r=reduction, log=log: F.kl_div(x, t, reduction=r, log_target=log), "x", "y" if log else "u"
        )
for reduction, (x, labels) in product(("mean", "sum", "none"), (("x", "labels"), ("batch", "pixels"))):
    CASES[f"cross_entropy {x} {reduction}"] = differentiated(
        lambda F, x, t, r=reduction: F.cross_entropy(x, t, reduction=r), x, constants=(labels,)
    )
CASES["bce near 0 and 1"] = differentiated(
    lambda F, x, t: F.binary_cross_entropy(x, t), "edge", constants=("other edge",)
)
OF_REAL = {"huber_loss": {"delta": 0.7}, "smooth_l1_loss": {"beta": 0.4}, "gaussian_nll_loss": {"full": True},
           "cosine_similarity": {"dim": -1}}  # fmt: skip
for name, options in OF_REAL.items():
    CASES[name] = differentiated(
        lambda F, *inputs, name=name, o=options: getattr(F, name)(*inputs, **o),
        *(("x", "y", "p") if name == "gaussian_nll_loss" else ("x", "y")),
    )
# Away from 1/2, where PyTorch's own float32 loses three digits.
CASES["continuous_bernoulli_nll"] = differentiated(lambda F, u, v: F.continuous_bernoulli_nll(u / 4, v), "u", "v")
for reduction, (x, labels, weight) in product(
    ("mean", "sum", "none"), (("x", "labels", "other weights"), ("batch", "pixels", "weights"))
):
    CASES[f"cross_entropy {x} {reduction} with options"] = differentiated(
        lambda F, x, t, w, r=reduction: F.cross_entropy(
            x, t, weight=w, ignore_index=2, label_smoothing=0.1, reduction=r
        ),
        x, constants=(labels, weight),
    )  # fmt: skip
CASES["cross_entropy, ignored"] = differentiated(
    lambda F, x, t: F.cross_entropy(x, t, ignore_index=1, label_smoothing=0.3), "x", constants=("labels",)
)
CASES["binary_cross_entropy_with_logits weighted"] = differentiated(
    lambda F, x, t, w, p: F.binary_cross_entropy_with_logits(x, t, weight=w, pos_weight=p),
    "x", "u", constants=("p", "other weights"),
)  # fmt: skip
CASES["gaussian_kl"] = differentiated(lambda F, x, y: F.gaussian_kl(x, y), "x", "y")
CASES["bernoulli_kl"] = differentiated(lambda F, u, v: F.bernoulli_kl(u, v), "u", "v")

# --- images: the value, first and second gradients ------------------------------------------------


def twice_differentiated(f: Callable, *names: str) -> Callable[[Any], dict[str, Any]]:
    """The second gradient is that of the sum of the squared first ones."""

    def case(lib: Any) -> dict[str, Any]:
        inputs = {name: lib.leaf(lib.inputs[name]) for name in names}
        out = f(lib.F, *inputs.values())
        cotangent = np.cos(np.arange(np.prod(out.shape, dtype=int))).reshape(tuple(out.shape))
        first = lib.grad((out * out * lib.constant(cotangent)).sum(), list(inputs.values()))
        sum((g * g).sum() for g in first).backward()
        results = {f"first {name}": g for name, g in zip(names, first, strict=True)}
        return {"out": out, **results, **{f"second {name}": x.grad for name, x in inputs.items()}}

    return case


# stride, padding, dilation, groups, kernel
CONVOLUTIONS = [
    (1, 0, 1, 1, (3, 3)), (1, 1, 1, 1, (1, 1)), (1, 2, 2, 1, (3, 2)), (1, (2, 1), 1, 4, (4, 3)), (2, 1, 1, 1, (3, 3)),
    (2, (1, 2), (2, 1), 2, (3, 3)), (3, 0, 1, 1, (2, 3)), ((2, 3), 1, 1, 2, (4, 2)), (3, 2, 2, 4, (2, 2)),
]  # fmt: skip
for s, p, d, g, (kh, kw) in CONVOLUTIONS:
    CASES[f"conv2d {s} {p} {d} {g} {kh}x{kw}"] = twice_differentiated(
        lambda F, x, w, b, s=s, p=p, d=d, g=g, kh=kh, kw=kw: F.conv2d(x, w[:, : 4 // g, :kh, :kw], b, s, p, d, g),
        "image", "kernels", "b",
    )  # fmt: skip
for s, p, extra, g, d in [(1, 1, 0, 1, 1), (2, 1, 1, 1, 1), (3, 0, (1, 2), 2, 1), (2, 1, 0, 4, 2)]:
    CASES[f"conv_transpose2d {s} {p} {extra} {g} {d}"] = twice_differentiated(
        lambda F, x, w, s=s, p=p, e=extra, g=g, d=d: F.conv_transpose2d(x, w[:, :2, :3, :3], None, s, p, e, g, d),
        "image", "kernels",
    )  # fmt: skip
CASES |= {
    "max_pool2d": twice_differentiated(lambda F, x: F.max_pool2d(x, 3, 2, 1), "image"),
    "max_pool2d with ties": twice_differentiated(lambda F, x: F.max_pool2d(x, 2), "flat image"),
    "avg_pool2d": twice_differentiated(lambda F, x: F.avg_pool2d(x, (3, 2), (2, 1), 1), "image"),
    "pixel_shuffle": twice_differentiated(lambda F, x: F.pixel_shuffle(x, 2), "image"),
    "pixel_unshuffle": twice_differentiated(lambda F, x: F.pixel_unshuffle(x[:, :, :6], 2), "image"),
}

# --- layers: three batches in train mode, one in eval mode ----------------------------------------


def layer(kind: str, *args: Any, x: str, parameters: tuple[str, ...]) -> Callable[[Any], dict[str, Any]]:
    def case(lib: Any) -> dict[str, Any]:
        module, results = lib.module(getattr(lib.nn, kind)(*args)), {}
        for parameter, given in zip((module.weight, module.bias), parameters, strict=True):
            parameter.data[...] = lib.constant(lib.inputs[given]).data
        for step in range(4):
            module.train() if step < 3 else module.eval()
            batch = lib.leaf(lib.inputs[x] * (step + 1) + step)
            out = module(batch)
            (out * out * lib.constant(np.sin(lib.inputs[x]))).sum().backward()
            results |= {f"out {step}": out, f"grad {step}": batch.grad}
        results |= {"grad weight": module.weight.grad, "grad bias": module.bias.grad}
        return results | {k: v for k, v in module.state_dict().items() if k.startswith("running")}

    return case


CASES["LayerNorm"] = layer("LayerNorm", 5, x="x", parameters=("g", "h"))
CASES["LayerNorm over two axes"] = layer("LayerNorm", (4, 5), x="batch", parameters=("gg", "hh"))
CASES["BatchNorm1d"] = layer("BatchNorm1d", 5, x="x", parameters=("g", "h"))
CASES["BatchNorm1d with length"] = layer("BatchNorm1d", 4, 1e-3, 0.3, x="batch", parameters=("b", "b"))
CASES["Linear"] = layer("Linear", 5, 5, x="x", parameters=("square", "h"))

# --- optimisers: two parameters after 1 and after 20 steps ----------------------------------------


def optimiser(kind: str, later: int | None = None, **options: Any) -> Callable[[Any], dict[str, Any]]:
    """`later` is the step at which the second parameter joins, in a group of its own."""

    def case(lib: Any) -> dict[str, Any]:
        ps, results = [lib.leaf(lib.inputs["w"]), lib.leaf(lib.inputs["b"])], {}
        optimizer = getattr(lib.optim, kind)(ps if later is None else ps[:1], **options)
        for step in range(1, 21):
            if step == later:
                optimizer.add_param_group({"params": ps[1:], "weight_decay": 0.2})
            optimizer.zero_grad()
            losses = [(p * lib.constant(np.sin(lib.inputs[n] * step))).sum() for p, n in zip(ps, "wb", strict=True)]
            (losses[0] + losses[1] + (ps[0] * ps[0]).sum()).backward()
            optimizer.step()
            if step in (1, 20):
                results |= {f"w after {step}": ps[0] * 1, f"b after {step}": ps[1] * 1}
        return results

    return case


OPTIMISERS = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3}, {"momentum": 0.9, "nesterov": True},
            {"weight_decay": 0.1}, {"momentum": 0.8, "weight_decay": 0.1, "nesterov": True}],
    "Adam": [{}, {"betas": (0.8, 0.9), "eps": 1e-3}, {"weight_decay": 0.1}, {"amsgrad": True},
             {"weight_decay": 0.1, "amsgrad": True, "betas": (0.5, 0.7)}],
    "AdamW": [{}, {"weight_decay": 0.3}, {"amsgrad": True, "betas": (0.5, 0.7)}],
    "RMSprop": [{}, {"momentum": 0.9}, {"centered": True}, {"alpha": 0.8, "weight_decay": 0.1},
                {"centered": True, "momentum": 0.9, "eps": 1e-4, "alpha": 0.9}],
    "Adagrad": [{}, {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-3}],
}  # fmt: skip
for kind, variants in OPTIMISERS.items():
    for options in variants:
        CASES[f"{kind} {options}"] = optimiser(kind, lr=0.03, **options)
CASES["Adam, a group joins"] = optimiser("Adam", later=7, lr=0.03)

# --- schedules: the learning rate over 30 epochs, two groups --------------------------------------


def schedule(kind: str, *metric: Callable[[int], float], **options: Any) -> Callable[[Any], dict[str, Any]]:
    def case(lib: Any) -> dict[str, Any]:
        ps = [lib.leaf(lib.inputs["b"]) for _ in range(2)]
        optimizer = lib.optim.SGD([{"params": ps[:1], "lr": 0.5}, {"params": ps[1:]}], lr=0.1)
        scheduler, rates = getattr(lib.schedules, kind)(optimizer, **options), []
        for epoch in range(30):
            optimizer.step()
            scheduler.step(*(m(epoch) for m in metric))
            rates.append([group["lr"] for group in optimizer.param_groups])
        return {"rates": np.array(rates)}

    return case


CASES["StepLR"] = schedule("StepLR", step_size=4, gamma=0.5)
CASES["CosineLR"] = schedule("CosineLR", T_max=30, eta_min=0.01)
CASES["CosineLR past its end"] = schedule("CosineLR", T_max=12)
CASES["LambdaLR"] = schedule("LambdaLR", f=lambda epoch: (epoch + 2) / (epoch**2 + 1))
CASES["WarmupLR"] = schedule("WarmupLR", steps=7)
CASES["WarmupLR, then cosine"] = schedule("warmup_then_cosine", steps=4, T_max=20)
CASES["ReduceOnPlateau"] = schedule("ReduceOnPlateau", lambda e: max(5 - e, 1) + 0.3 * (e % 3), factor=0.5, patience=2)

# --- on PyTorch -----------------------------------------------------------------------------------


def make_inputs() -> dict[str, np.ndarray]:
    """Numbers that float32 holds exactly, so that both precisions start from the same."""
    rng = np.random.default_rng(0)
    shapes = {"x": (6, 5), "y": (6, 5), "w": (4, 5), "b": (4,), "g": (5,), "h": (5,), "gg": (4, 5), "hh": (4, 5),
              "square": (5, 5), "batch": (3, 4, 5)}  # fmt: skip
    inputs = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    images = np.random.default_rng(1)  # of their own, so that what stands above keeps its numbers
    inputs |= {"image": images.normal(size=(2, 4, 7, 4)), "kernels": images.normal(size=(4, 4, 4, 3))}
    inputs |= {"flat image": images.integers(0, 3, (2, 2, 4, 6)) * 1.0}
    inputs |= {"p": rng.uniform(0.2, 3, (6, 5)), "u": rng.uniform(0.05, 0.95, (6, 5))}
    inputs |= {"v": rng.uniform(0.05, 0.95, (6, 5)), "ties": rng.integers(0, 3, (6, 5)) * 1.0}
    # Not 0 and 1 themselves: PyTorch guards its gradient there with a float32 1e-12, which is another number.
    inputs |= {"weights": images.uniform(0.2, 3, 4), "other weights": images.uniform(0.2, 3, 5)}
    inputs |= {"edge": np.array([1e-11, 1 - 2**-20, 1e-9, 1 - 2**-24]), "other edge": np.array([0.0, 1, 1, 0])}
    exact = {name: a.astype(np.float32).astype(np.float64) for name, a in inputs.items()}
    return exact | {"labels": rng.integers(0, 5, 6), "pixels": rng.integers(0, 4, (3, 5))}


def run(lib: Any) -> Iterator[tuple[str, np.ndarray]]:
    for name, case in CASES.items():
        for what, result in case(lib).items():
            yield f"{name}: {what}", lib.numpy(result)


class Torch:
    def __init__(self, inputs: dict[str, np.ndarray], dtype: str):
        import torch
        from torch.distributions import Bernoulli, ContinuousBernoulli, Normal, kl_divergence
        from torch.optim import lr_scheduler

        class F:
            max, min = torch.amax, torch.amin
            norm = staticmethod(lambda x, axis: torch.linalg.vector_norm(x, dim=axis))
            var = staticmethod(lambda x, axis: torch.var(x, axis, correction=0))
            continuous_bernoulli_nll = staticmethod(lambda x, t: -ContinuousBernoulli(x).log_prob(t).mean())
            gaussian_kl = staticmethod(lambda m, v: kl_divergence(Normal(m, torch.exp(v / 2)), Normal(0.0, 1.0)).mean())
            bernoulli_kl = staticmethod(lambda p, q: kl_divergence(Bernoulli(p), Bernoulli(q)).mean())

        for name in {*dir(torch), *dir(torch.nn.functional)} - {*vars(F)}:
            if not name.startswith("_"):
                setattr(F, name, getattr(torch.nn.functional, name, None) or getattr(torch, name))

        class schedules:
            StepLR, CosineLR = lr_scheduler.StepLR, lr_scheduler.CosineAnnealingLR
            ReduceOnPlateau = lr_scheduler.ReduceLROnPlateau
            LambdaLR = staticmethod(lambda optimizer, f: lr_scheduler.LambdaLR(optimizer, f))

            @staticmethod
            def WarmupLR(optimizer: Any, steps: int) -> Any:
                return lr_scheduler.LinearLR(optimizer, 1 / (steps + 1), total_iters=steps)

            @staticmethod
            def warmup_then_cosine(optimizer: Any, steps: int, T_max: int) -> Any:
                parts = [schedules.WarmupLR(optimizer, steps), schedules.CosineLR(optimizer, T_max)]
                return lr_scheduler.SequentialLR(optimizer, parts, [steps])

        self.F, self.nn, self.optim, self.schedules, self.inputs = F, torch.nn, torch.optim, schedules, inputs
        self.torch, self.dtype = torch, getattr(torch, dtype)

    def constant(self, array: np.ndarray) -> Any:
        return self.torch.tensor(array, dtype=self.dtype if array.dtype.kind == "f" else None)

    def leaf(self, array: np.ndarray) -> Any:
        return self.constant(array).requires_grad_()

    def grad(self, out: Any, inputs: list) -> Any:
        return self.torch.autograd.grad(out, inputs, create_graph=True)

    def module(self, module: Any) -> Any:
        return module.to(self.dtype)

    def numpy(self, result: Any) -> np.ndarray:
        return result if isinstance(result, np.ndarray) else result.detach().numpy()


def main() -> None:
    inputs = make_inputs()
    contents = {f"input {name}": array for name, array in inputs.items()}
    for dtype in DTYPES:
        names, arrays = zip(*run(Torch(inputs, dtype)), strict=True)
        contents[dtype] = np.concatenate([np.ravel(a).astype(dtype) for a in arrays])
    contents |= {"names": np.array(names), "sizes": np.array([a.size for a in arrays])}
    np.savez_compressed(FILE, **contents)
    print(f"{len(names)} arrays, {len(DTYPES)} precisions, {FILE.stat().st_size:,} bytes: {FILE}")


if __name__ == "__main__":
    main()
