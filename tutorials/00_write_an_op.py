"""Write an operation of your own, check its derivative, and use the operation.

The operation is the "snake" activation, x + sin(x)^2 (Ziyin et al. 2020). The snake is as smooth as a sine, and rises
like a line. A network with snakes can therefore continue a periodic pattern beyond its training data. A network with
ReLUs cannot.

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

# 1. An operation is a function on arrays, with a vector-Jacobian product (vjp) for each argument. The vjp turns the
#    gradient g of the output into the gradient of the argument. Here dy/dx = 1 + sin(2x). The parameters of the vjp
#    name `x`, so the engine keeps x until the backward pass. The vjp uses operators that have derivatives themselves
#    (F.sin, not np.sin). Second derivatives need nothing more.


@sa.primitive(x=lambda g, x: g * (1 + F.sin(2 * x)))
def snake(x):
    return x + np.sin(x) ** 2


# 2. Is the derivative right? `gradcheck` compares the derivative with finite differences. `gradgradcheck` compares the
#    second derivative. Both functions should return True.
points = np.linspace(-4, 4, 9)
print("first derivative: ", sa.gradcheck(snake, [points]))
print("second derivative:", sa.gradgradcheck(snake, [points]))


#    A wrong derivative should raise an error. This vjp forgets the inner derivative:
@sa.primitive(x=lambda g, x: g * (1 + F.sin(x)))
def wrong_snake(x):
    return x + np.sin(x) ** 2


try:
    sa.gradcheck(wrong_snake, [points])
except AssertionError as error:
    print("wrong derivative: ", error)


# 3. A module gives the new operation a place in a model, like any other operation.
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
        optimizer.zero_grad()  # backward() adds to .grad, so drop the old gradients
        loss.backward()  # computes a gradient for each parameter
        optimizer.step()  # moves each parameter against its gradient
    print(f"{activation.__name__:5} training loss {loss.item():.5f}")
    return model


models = {"snake": train(Snake), "ReLU": train(nn.ReLU)}

# 4. Draw the operation with its two derivatives. Then draw both networks beyond the training data. The snake network
#    should follow the sine a little further, and the ReLU network should go straight on.
x = sa.tensor(np.linspace(-6, 6, 500), requires_grad=True)  # a Tensor, because we differentiate by x
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
right.set(title="Two networks, inside and outside the training data", xlabel="x", ylabel="y", ylim=(-6, 6))
right.legend(loc="upper left", fontsize=8)
figure.savefig(args.out / "snake.png", dpi=120)
print(f"picture: {args.out / 'snake.png'}")

with sa.no_grad():
    loss = F.mse_loss(models["snake"](x_train), y_train)
verdict("mean squared error of the snake network on its data", 1e-3, loss.item())
finish()
