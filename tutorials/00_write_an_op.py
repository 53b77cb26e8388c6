"""Write an operation of your own, check its derivative, and use it.

The operation is the "snake" activation, x + sin(x)^2 (Ziyin et al. 2020). It is as smooth as a sine and
rises like a line, so that a network made of it can go on where periodic data end. ReLU can't.

    python tutorials/00_write_an_op.py
"""

import numpy as np
from common import finish, settings, verdict
from matplotlib.figure import Figure

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim

HIDDEN = 64
STEPS = 3000
QUICK_STEPS = 1500
LR = 3e-3

args = settings(__file__, __doc__, uses_data=False)
sa.manual_seed(0)

# 1. An operation is a function on arrays, and for each argument a vector-Jacobian product: what turns the
#    gradient g of the output into the gradient of that argument. Here dy/dx = 1 + sin(2x). The vjp names `x`,
#    so x is kept until the backward pass. It is written with operators that have derivatives themselves
#    (F.sin, not np.sin), which is all that second derivatives need.


@sa.primitive(x=lambda g, x: g * (1 + F.sin(2 * x)))
def snake(x):
    return x + np.sin(x) ** 2


# 2. Is the derivative right? Finite differences tell, in first and in second order.
points = np.linspace(-4, 4, 9)
print("first derivative: ", sa.gradcheck(snake, [points]))
print("second derivative:", sa.gradgradcheck(snake, [points]))


#    And this is what a mistake looks like: the inner derivative forgotten.
@sa.primitive(x=lambda g, x: g * (1 + F.sin(x)))
def wrong_snake(x):
    return x + np.sin(x) ** 2


try:
    sa.gradcheck(wrong_snake, [points])
except AssertionError as error:
    print("a wrong one:      ", error)


# 3. Use it like any other. A module only gives it a place in a model.
class Snake(nn.Module):
    def forward(self, x):
        return snake(x)


def target(x):
    return np.sin(2 * x) + 0.3 * x


x_train = np.random.default_rng(0).uniform(-5, 5, (512, 1)).astype(np.float32)
y_train = target(x_train)


def train(activation):
    model = nn.Sequential(
        nn.Linear(1, HIDDEN), activation(), nn.Linear(HIDDEN, HIDDEN), activation(), nn.Linear(HIDDEN, 1)
    )
    optimizer = optim.Adam(model.parameters(), lr=LR)
    for _ in range(QUICK_STEPS if args.quick else STEPS):
        loss = F.mse_loss(model(x_train), y_train)  # arrays are constants; the parameters are Tensors
        optimizer.zero_grad()  # .grad of the step before is dropped: backward() adds to it
        loss.backward()  # from here back through every operation: a gradient for each parameter
        optimizer.step()  # each parameter moves against its own
    print(f"{activation.__name__:5} training loss {loss.item():.5f}")
    return model


models = {"snake": train(Snake), "ReLU": train(nn.ReLU)}

# 4. Look at it: the operation with its two derivatives, and what both networks make of x beyond the data.
x = sa.tensor(np.linspace(-6, 6, 500), requires_grad=True)  # a Tensor, since this time x is what we differentiate by
y = snake(x)
slope = sa.grad(y.sum(), x, create_graph=True)
curvature = sa.grad(slope.sum(), x)

figure = Figure(figsize=(10, 4), layout="constrained")
left, right = figure.subplots(1, 2)
for values, name in ((y, "snake(x)"), (slope, "first derivative"), (curvature, "second derivative")):
    left.plot(x.numpy(), values.numpy(), label=name)
left.set(title="The operation", xlabel="x")
left.legend()
wide = np.linspace(-10, 10, 800, dtype=np.float32)[:, None]
right.axvspan(-5, 5, color="0.92", label="training data")
right.plot(wide, target(wide), "k--", label="sin(2x) + 0.3x")
with sa.no_grad():
    for name, model in models.items():
        right.plot(wide, model(wide).numpy(), label=name)
right.set(title="Two networks, and what they make of the unseen", xlabel="x", ylabel="y", ylim=(-6, 6))
right.legend(loc="upper left", fontsize=8)
figure.savefig(args.out / "snake.png", dpi=120)
print(f"picture: {args.out / 'snake.png'}")

with sa.no_grad():
    loss = F.mse_loss(models["snake"](x_train), y_train)
verdict("mean squared error of the snake network on its data", 1e-3, loss.item())
finish()
