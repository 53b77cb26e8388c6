"""What a module does with what is inside it: names, state, copies, modes, pictures of itself."""

from __future__ import annotations

import collections
import copy
import pickle
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import nn


class Tree(nn.Module):
    """A list of layers, a parameter and a buffer of its own, and a head whose weight may be another layer's."""

    def __init__(self, shared: bool = False):
        self.blocks = [nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)]
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.register_buffer("offset", np.zeros(3, np.float32))
        self.head = nn.Sequential(nn.Tanh(), nn.Linear(3, 3, bias=False))
        if shared:
            self.head[1].weight = self.blocks[0].weight

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(x * self.scale + self.offset)


TREE_NAMES = ["scale", "offset", "blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias",
              "blocks.1.running_mean", "blocks.1.running_var", "head.1.weight"]  # fmt: skip
X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def test_names_are_the_attributes_joined_with_dots() -> None:
    tree = Tree()
    assert list(tree.state_dict()) == TREE_NAMES
    trained = [n for n in TREE_NAMES if "running" not in n and n != "offset"]
    assert [n for n, _ in tree.named_parameters()] == trained
    names = ["", "blocks.0", "blocks.1", "blocks.2", "head", "head.0", "head.1"]
    assert [n for n, _ in tree.named_modules()] == names
    assert [n for n, _ in tree.named_children()] == ["blocks.0", "blocks.1", "blocks.2", "head"]
    assert tree.count_parameters() == 3 + 9 + 3 + 3 + 3 + 9


def test_state_dict_copies_and_load_state_dict_restores() -> None:
    tree, other = Tree(), Tree()
    state = tree.state_dict()
    state["scale"][...] = 7
    assert (tree.scale.data == 1).all()
    parameters = list(other.parameters())
    other.load_state_dict({**{n: a.astype(np.float64) for n, a in state.items()}, "scale": sa.Tensor(state["scale"]),
                           "blocks.1.num_batches_tracked": np.array(3)})  # fmt: skip
    assert all(a is b for a, b in zip(parameters, other.parameters(), strict=True))
    for name, array in other.state_dict().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, state[name])


def test_a_state_that_does_not_fit_is_refused_whole_with_all_its_problems() -> None:
    tree = Tree()
    before, wrong = tree.state_dict(), Tree().state_dict()
    del wrong["scale"], wrong["blocks.1.running_var"]
    wrong |= {"extra": X, "head.1.weight": np.ones((2, 3)), "blocks.0.bias": [1, 2, 3]}
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        tree.load_state_dict(wrong)
    for problem in ("missing: scale", "missing: blocks.1.running_var", "unexpected: extra", "blocks.0.bias is a list",
                    "head.1.weight is (2, 3) in the state, (3, 3) in the model"):  # fmt: skip
        assert problem in str(caught.value)
    assert all((before[n] == a).all() for n, a in tree.state_dict().items())


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_a_shared_parameter_is_one_parameter_also_in_copies(way: Callable) -> None:
    tree = way(Tree(shared=True))
    assert tree.count_parameters() == 3 + 9 + 3 + 3 + 3 and list(tree.state_dict()) == TREE_NAMES
    assert tree.head[1].weight is tree.blocks[0].weight
    weight, h = tree.blocks[0].weight, nn.Sequential(tree.blocks[0], tree.head[1])(sa.Tensor(X))
    h.sum().backward()
    w, ones = weight.numpy(), np.ones((4, 3))
    wanted = ones.T @ (X @ w.T + tree.blocks[0].bias.numpy()) + (ones @ w).T @ X
    np.testing.assert_allclose(weight.grad, wanted, rtol=1e-5)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_a_copy_computes_the_same_and_shares_nothing(way: Callable) -> None:
    tree = Tree()
    tree(sa.Tensor(X)).sum().backward()
    twin = way(tree.eval())
    np.testing.assert_array_equal(twin(sa.Tensor(X)).numpy(), tree(sa.Tensor(X)).numpy())
    before = tree.state_dict()
    for (_, p), (_, q) in zip(tree.named_parameters(), twin.named_parameters(), strict=True):
        np.testing.assert_array_equal(p.grad, q.grad)
        q.data[...] = 9
        q.grad[...] = 9
    twin.blocks[1].running_mean[...] = 9
    assert all((before[n] == a).all() for n, a in tree.state_dict().items()) and (tree.scale.grad != 9).all()


def test_train_and_eval_reach_every_module() -> None:
    tree = Tree()
    assert tree.eval() is tree and not any(m.training for m in tree.modules())
    assert tree.train() is tree and all(m.training for m in tree.modules())


def test_to_converts_parameters_buffers_and_later_gradients() -> None:
    tree = Tree()
    identities = [id(p) for p in tree.parameters()]
    tree(sa.Tensor(X)).sum().backward()
    assert tree.to(np.float64) is tree and [id(p) for p in tree.parameters()] == identities
    assert {a.dtype for a in tree.state_dict().values()} == {np.dtype(np.float64)}
    assert all(p.grad is None for p in tree.parameters())
    tree(sa.Tensor(X.astype(np.float64))).sum().backward()
    assert {p.grad.dtype for p in tree.parameters()} == {np.dtype(np.float64)}


def test_zero_grad_and_freezing() -> None:
    tree = Tree()
    tree.blocks[0].weight.requires_grad = False
    tree(sa.Tensor(X)).sum().backward()
    frozen = [n for n, p in tree.named_parameters() if p.grad is None]
    assert frozen == ["blocks.0.weight"] and tree.count_parameters() == 30
    tree.zero_grad()
    assert all(p.grad is None for p in tree.parameters())


def test_sequential_is_a_list_of_layers() -> None:
    layers = [nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)]
    net = nn.Sequential(*layers)
    assert len(net) == 3 and list(net) == layers and net[-1] is layers[2] and net[0] is layers[0]
    head = net[1:]
    assert isinstance(head, nn.Sequential) and list(head) == layers[1:] and list(net[::-1]) == layers[::-1]
    assert list(head.state_dict()) == ["1.weight", "1.bias"] and head[1].weight is layers[2].weight
    with pytest.raises(IndexError):
        net[3]


def test_repr_is_a_tree_with_counts() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 9), nn.LeakyReLU(0.2), nn.Sequential(nn.Linear(9, 1, bias=False)))
    assert repr(net).split("\n") == [
        "Sequential()  # 7,074 parameters",
        "  (0): Flatten()",
        "  (1): Linear(784, 9)  # 7,065 parameters",
        "  (2): LeakyReLU(negative_slope=0.2)",
        "  (3): Sequential()  # 9 parameters",
        "    (0): Linear(9, 1, bias=False)  # 9 parameters",
    ]


def test_summary_prints_shapes_and_counts_and_changes_nothing(capsys: pytest.CaptureFixture) -> None:
    tree = Tree()
    tree.blocks[1].eval()
    modes, before = [m.training for m in tree.modules()], tree.state_dict()
    tree.summary((3,))
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["layer", "output", "parameters"],
        ["blocks.0", "Linear(3,", "3)", "(3,)", "12"],
        ["blocks.1", "BatchNorm1d(3)", "(3,)", "6"],
        ["blocks.2", "Dropout()", "(3,)", "0"],
        ["head.0", "Tanh()", "(3,)", "0"],
        ["head.1", "Linear(3,", "3,", "bias=False)", "(3,)", "9"],
        ["total", "30"],
    ]
    with pytest.raises(ValueError, match="shape"):
        tree.summary((4,))
    assert modes == [m.training for m in tree.modules()] and "forward" not in vars(tree.blocks[0])
    assert all((before[n] == a).all() for n, a in tree.state_dict().items())


def test_summary_follows_layers_that_take_options_and_give_several_outputs(capsys: pytest.CaptureFixture) -> None:
    class Split(nn.Module):
        def forward(self, x: Any, at: int = 1) -> Any:
            return x[:, :at], x[:, at:]

    class Net(nn.Module):
        def __init__(self) -> None:
            self.split = Split()

        def forward(self, x: Any) -> Any:
            return self.split(x, at=2)[1]

    Net().summary((5,))
    line = capsys.readouterr().out.splitlines()[1]
    assert "split Split()" in line and "(2,)" in line and "(3,)" in line


def test_parameters_in_lists_dicts_and_nested_lists_are_found() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            self.weights = [nn.Parameter(np.ones(1, np.float32))]
            self.heads = {"mu": nn.Linear(2, 1, bias=False)}
            self.grid = [[nn.Linear(1, 2, bias=False)]]

    names = ["weights.0", "heads.mu.weight", "grid.0.0.weight"]
    assert [name for name, _ in Holder().named_parameters()] == names
    assert list(Holder().state_dict()) == names


def test_freezing_a_module_and_letting_it_go() -> None:
    layer = nn.Linear(2, 2)
    assert not any(p.requires_grad for p in layer.requires_grad_(False).parameters())
    assert all(p.requires_grad for p in layer.requires_grad_().parameters())


def test_a_module_that_knows_its_parent_is_walked_once() -> None:
    parent, child = nn.Sequential(nn.Linear(2, 2)), nn.Identity()
    parent.child, child.parent = child, parent
    assert len(list(parent.modules())) == 3


# --- what contains itself, or hides ---------------------------------------------------------------


def family() -> nn.Sequential:
    """A parent and two children: the first knows the parent, and all three lists of each other."""
    parent = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    parent[0].parent = parent
    parent.everyone = [parent, [parent[0]]]
    parent.everyone.append(parent.everyone)
    return parent


def test_modules_and_lists_that_contain_themselves_are_walked_once() -> None:
    model = family()
    assert len(list(model.modules())) == 3 and model.count_parameters() == 17
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "everyone.1.0.weight", "everyone.1.0.bias"]
    assert list(model.state_dict()) == names
    assert "(parent): ..." in repr(model) and repr(model).startswith("Sequential()  # 17 parameters")
    twin = copy.deepcopy(model).to(np.float64)
    twin.load_state_dict(model.state_dict())
    assert [n for n, _ in twin.named_parameters()] == names[:4] and twin[0].parent is twin
    assert not model.eval()[0].training and "Linear" in model._repr_html_()
    itself = nn.Module()
    itself.me = itself
    assert list(itself.modules()) == [itself] and itself.state_dict() == {} and repr(itself).endswith("(me): ...")


def test_a_thousand_modules_inside_each_other_are_walked() -> None:
    model = innermost = nn.Sequential()
    for _ in range(3000):
        innermost.next = nn.Sequential()
        innermost = innermost.next
    innermost.last = nn.Linear(1, 1)
    assert model.count_parameters() == 2 and len(list(model.modules())) == 3002
    assert list(model.state_dict()) == ["next." * 3000 + "last.weight", "next." * 3000 + "last.bias"]


def parameter() -> nn.Parameter:
    return nn.Parameter(np.ones(2, np.float32))


def collision(name: str) -> nn.Module:
    model = nn.Module()
    if name == "a.b":
        model.a = nn.Module()
        model.a.b = parameter()
        setattr(model, "a.b", parameter())
    elif name == "heads.1.weight":
        model.heads = {1: nn.Linear(2, 2), "1": nn.Linear(2, 2)}
    elif name == "blocks.0":
        model.blocks = [parameter()]
        setattr(model, "blocks.0", parameter())
    else:
        model.scale = nn.Module()
        model.scale.x = parameter()
        model.register_buffer("scale_x", np.ones(2))
        vars(model)["scale.x"] = vars(model).pop("scale_x")
        model._buffers = ("scale.x",)
    return model


@pytest.mark.parametrize("name", ["a.b", "heads.1.weight", "blocks.0", "scale.x"])
def test_two_things_of_one_name_are_refused_by_name(name: str) -> None:
    model = collision(name)
    for call in (model.state_dict, lambda: list(model.named_parameters()), lambda: model.load_state_dict({})):
        with pytest.raises(ValueError, match=rf"two (parameters or buffers|modules) of the name '{name}'"):
            call()


def test_two_modules_of_one_name_are_refused_by_name_and_change_nothing() -> None:
    model = nn.Sequential(nn.Dropout(0.5))
    model.heads = {1: nn.ReLU(), "1": nn.ReLU()}
    with pytest.raises(ValueError, match=r"Sequential has two modules of the name 'heads.1'"):
        list(model.named_modules())
    with pytest.raises(ValueError, match="'heads.1'"):
        model.eval()
    assert model.training and model[0].training
    model.heads = {1: model[0], "1": model[0]}  # one module under one name
    assert len(list(model.modules())) == 2


HIDING: dict[str, Callable[[Any], Any]] = {
    "set": lambda part: {part},
    "frozenset": lambda part: frozenset({(part, 1)}),
    "deque": lambda part: collections.deque([part]),
    "dict_values": lambda part: {"a": part}.values(),
    "dict_items": lambda part: {"a": part}.items(),
    "mappingproxy": lambda part: types.MappingProxyType({"a": part}),
    "ChainMap": lambda part: collections.ChainMap({"a": part}),
    "UserList": lambda part: collections.UserList([part]),
    "ndarray": lambda part: np.frompyfunc(lambda _: part, 1, 1)(np.zeros((2, 1))),
}


@pytest.mark.parametrize("kind", HIDING)
@pytest.mark.parametrize("part", [nn.ReLU, parameter])
def test_modules_and_parameters_where_nobody_looks_are_refused(kind: str, part: Callable[[], Any]) -> None:
    model, item = nn.Sequential(nn.Linear(2, 2)), part()
    for hidden in (HIDING[kind](item), [HIDING[kind](item)]):
        model.blocks = hidden
        found = rf"Sequential.blocks(.0)? is a {kind} with a {type(item).__name__} in it.*use a list, a tuple or a dict"
        for call in (model.state_dict, lambda: list(model.parameters()), model.eval, lambda: repr(model)):
            with pytest.raises(TypeError, match=found):
                call()
    assert model.training
    model.blocks = {1, "a", (2, 3)}, collections.deque([1.0]), np.array([None])  # nothing is hidden in these
    assert len(model.state_dict()) == 2


def test_named_tuples_and_subclasses_of_dicts_are_looked_into() -> None:
    pair = collections.namedtuple("pair", "first second")
    model = nn.Module()
    model.pair = pair(nn.Linear(1, 1, bias=False), [parameter()])
    model.heads = collections.OrderedDict(mu=nn.Linear(1, 1, bias=False))
    assert list(model.state_dict()) == ["pair.1.0", "pair.0.weight", "heads.mu.weight"]


# --- buffers --------------------------------------------------------------------------------------

BUFFERS: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "a dot": ("a.b", np.ones(2), ValueError, r"register_buffer\('a.b'\).*no dot"),
    "no name": ("", np.ones(2), ValueError, "at least one character"),
    "no string": (5, np.ones(2), TypeError, "expected a name, got int"),
    "a parameter's name": ("weight", np.ones(2), ValueError, "register_buffer.'weight'.: the Linear has something"),
    "a child's name": ("child", np.ones(2), ValueError, "something else of that name"),
    "a method's name": ("forward", np.ones(2), ValueError, "something else of that name"),
    "the mode's name": ("training", np.ones(2), ValueError, "something else of that name"),
    "a list": ("seen", [1.0], TypeError, "the buffer is a list"),
    "nothing": ("seen", None, TypeError, "the buffer is a NoneType"),
    "complex numbers": ("seen", np.ones(2, complex), TypeError, "the buffer is of dtype complex128"),
    "a masked array": ("seen", np.ma.ones(2), TypeError, "the buffer is a MaskedArray"),
}


@pytest.mark.parametrize("case", BUFFERS)
def test_buffers_that_cannot_be_are_refused(case: str) -> None:
    name, array, error, message = BUFFERS[case]
    layer = nn.Linear(2, 2)
    layer.child = nn.ReLU()
    before = dict(vars(layer))
    with pytest.raises(error, match=message):
        layer.register_buffer(name, array)
    assert vars(layer) == before


def test_a_buffer_may_be_replaced_removed_and_be_a_tensors_array() -> None:
    layer = nn.BatchNorm1d(2)
    layer.register_buffer("running_mean", sa.Tensor(np.full(2, 3, ">f4").astype(np.float32)))
    assert layer.state_dict()["running_mean"].tolist() == [3, 3] and type(layer.running_mean) is np.ndarray
    layer.running_mean = None
    assert "running_mean" not in layer.state_dict() and layer.buffer_places() == [(layer, "running_var")]
    del layer.running_var
    assert layer.buffer_places() == [] and list(layer.state_dict()) == ["weight", "bias"]
    layer.running_mean = [0.0, 0.0]
    assert list(layer.state_dict()) == ["weight", "bias"]  # a list has names of its own: running_mean.0
    layer.running_mean = 0.5
    with pytest.raises(TypeError, match="the buffer running_mean is a float; expected an array"):
        layer.state_dict()


# --- conversions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["banana", "cuda", None, 5, "gpu:x", "cpu:0", {}, [], "f4,f4", ("f4", -1), 1e400, "",
                                   10**400, np.int32, bool, complex, "U3"])  # fmt: skip
def test_unknown_devices_and_dtypes_are_refused_also_without_parameters(where: Any) -> None:
    for model in (nn.ReLU(), Tree()):
        before = model.state_dict()
        with pytest.raises(ValueError, match="expected 'cpu', 'gpu'"):
            model.to(where)
        assert {n: a.dtype for n, a in model.state_dict().items()} == {n: a.dtype for n, a in before.items()}


def test_a_dtype_comes_in_this_machines_byte_order() -> None:
    assert all(a.dtype.isnative for a in Tree().to(">f8").state_dict().values())


def test_integers_cannot_be_trained_and_nothing_is_thawed_then() -> None:
    model = nn.Sequential(nn.Linear(2, 2)).requires_grad_(False)
    model.steps = nn.Parameter(np.arange(3), requires_grad=False)
    with pytest.raises(TypeError, match="requires_grad_: steps is int64"):
        model.requires_grad_()
    assert not any(p.requires_grad for p in model.parameters())
