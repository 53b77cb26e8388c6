"""How do you add an operation of your own?

In tutorial 0A, you wrote the derivatives of a whole network by hand. A library such as scratchae needs only the
derivative of each single operation. Backpropagation is the chain rule, a product of these derivatives. So a new
operation has two parts:

    forward:      x -----> y = f(x) -----> ... -----> loss L
    backward:     g * f'(x) <----- g = dL/dy <----- ... <-----

The matrix of the derivatives of all outputs by all inputs is called the Jacobian. The backward part multiplies the
vector g, the gradient of the output, by the Jacobian. The result is the gradient of the input, so the backward part is
called vector-Jacobian product (vjp). If an operation acts on each number separately, the vjp is g * f'(x).

Our example is the activation "snake", x + sin(x)^2 (Ziyin et al. 2020). The snake is the sum of a line and a wave. We
ask a small network with the snake to continue a wave outside the training data:

    x (n, 1) ---------> h (n, 64) ---------> y (n, 1)
        h = snake(x W1^T + b1)    y = h W2^T + b2

There are two baselines, a straight line by least squares and the same network with the ReLU, max(z, 0).

    python tutorials/00_write_an_op.py --quick     10 to 25 seconds
    python tutorials/00_write_an_op.py             the same with more steps, 15 to 30 seconds
"""

import numpy as np
from common import finish, settings, verdict

import scratchae as sa
from scratchae import functional as F
from scratchae import nn, optim
from scratchae.plotting import style

HIDDEN = 64
FREQUENCY = 2.5  # of the wave
STEPS = 2000
QUICK_STEPS = 1000
LR = 1e-2  # the first rate; the rate falls to 0 along half a cosine
DECAYS = (0, 0.1, 0.3, 1, 3)
STARTS = 2

args = settings(__file__, __doc__, uses_data=False)

# 1. The forward part is a function on arrays. The backward part needs the derivative. In sin(x)^2, the outer function
#    is u^2 and the inner function is u = sin(x). The chain rule multiplies 2 u by the inner derivative cos(x):
#
#        f'(x) = 1 + 2 sin(x) cos(x) = 1 + sin(2x)
#
#    `primitive` takes a vjp for each input. This vjp has a parameter `x`, so scratchae keeps x until the backward pass.
#    The vjp uses F.sin and not np.sin. scratchae can differentiate F.sin, so second derivatives need no more code.


@sa.primitive(x=lambda g, x: g * (1 + F.sin(2 * x)))
def snake(x):
    return x + np.sin(x) ** 2


# 2. Is the vjp correct? `gradcheck` compares the vjp with finite differences, as in tutorial 0A. `gradgradcheck`
#    compares the second derivative. Both functions return True, or raise an error.
points = np.linspace(-4, 4, 9)
print("first derivative: ", sa.gradcheck(snake, [points]))
print("second derivative:", sa.gradgradcheck(snake, [points]))

# Predict first: the next vjp forgets the inner derivative cos(x). We check this vjp first only at x = 0, and then at
# the nine points -4, -3, ..., 4. Which check finds the mistake? Choose (a) both checks, or (b) only the check at nine
# points, or (c) neither check.


@sa.primitive(x=lambda g, x: g * (1 + 2 * F.sin(x)))
def wrong_snake(x):
    return x + np.sin(x) ** 2


print("wrong derivative, at x = 0:      ", sa.gradcheck(wrong_snake, [np.zeros(1)]))
try:
    sa.gradcheck(wrong_snake, [points])
except AssertionError as error:
    print("wrong derivative, at nine points:", error)

# What you should see, and why: answer (b). At x = 0, the forgotten factor cos(x) is 1, so the wrong vjp is correct
# there. A check needs several points. The error names the element with the largest difference, element 6 with x = 2.
# The printed values are multiples of f'(2), because `gradcheck` multiplies each output by a random number.

# 3. The module `Snake` makes the operation a layer of a network. The networks learn y = sin(2.5 x) + 0.3 x, a wave with
#    a trend. All training points lie between -5 and 5. The validation points have absolute values from 5 to 7.5, and
#    the test points from 7.5 to 10. So the networks must continue the wave on both sides. This task is called
#    extrapolation.


class Snake(nn.Module):
    def forward(self, x):
        return snake(x)


def wave(x):
    return np.sin(FREQUENCY * x) + 0.3 * x


def both_sides(low, high):
    x = np.linspace(low, high, 300, dtype=np.float32)[:, None]
    return np.concatenate([-x, x])


def mse(predict, x):
    return float(np.mean((predict(x) - wave(x)) ** 2))


x_train = np.random.default_rng(0).uniform(-5, 5, (512, 1)).astype(np.float32)
x_validation, x_test = both_sides(5, 7.5), both_sides(7.5, 10)


def train(activation, decay, seed):
    """A trained network, as a function of arrays."""
    sa.manual_seed(seed)
    steps = QUICK_STEPS if args.quick else STEPS
    model = nn.Sequential(nn.Linear(1, HIDDEN), activation(), nn.Linear(HIDDEN, 1))
    optimizer = optim.AdamW(model.parameters(), lr=LR, weight_decay=decay)
    schedule = optim.CosineLR(optimizer, steps)
    for _ in range(steps):
        loss = F.mse_loss(model(x_train), wave(x_train))  # arrays are constants; the parameters are Tensors
        optimizer.zero_grad()  # backward() adds to .grad, so drop the old gradients
        loss.backward()  # computes a gradient for each parameter
        optimizer.step()  # moves each parameter against its gradient
        schedule.step()  # reduces the learning rate

    def predict(x):
        with sa.no_grad():
            return model(x).numpy()

    return predict


# 4. The comparison must be fair. At each step, the optimiser AdamW also multiplies all weights by a number slightly
#    below 1. The weight decay sets this number. A larger weight decay gives smaller weights. We train each kind of
#    network with five weight decays and two random starts. We keep the network with the smallest mean squared error
#    (MSE) on the validation points. The test points only give the final numbers. For comparison, we also train a ReLU
#    network without weight decay.

# Predict first: which networks continue the wave? Choose (a) both kinds, or (b) only the snake network, or (c) no
# network, because all training points lie between -5 and 5.


def best(activation):
    tried = {(decay, seed): train(activation, decay, seed) for decay in DECAYS for seed in range(STARTS)}
    decay, seed = min(tried, key=lambda setting: mse(tried[setting], x_validation))
    print(f"{activation.__name__:5} network: smallest validation MSE with weight decay {decay:g}")
    return tried[decay, seed]


slope, height = np.polyfit(x_train[:, 0], wave(x_train)[:, 0], 1)
methods = {
    "straight line": lambda x: slope * x + height,
    "snake": best(Snake),
    "ReLU": best(nn.ReLU),
    "ReLU, no decay": train(nn.ReLU, 0, seed=0),
}
test = {name: mse(predict, x_test) for name, predict in methods.items()}
for name, predict in methods.items():
    print(f"{name:14} MSE: training {mse(predict, x_train):.4f}, validation {mse(predict, x_validation):.4f}, "
          f"test {test[name]:.4f}")  # fmt: skip

# What you should see, and why: answer (b). The test MSE of the snake network is 0.0043 in the quick run and 0.0028 in
# the longer run. The straight line has 0.61. The output of a ReLU network is a chain of straight pieces, and the last
# piece on each side is a straight line without end. So a ReLU network cannot continue a wave. The best ReLU network has
# a test MSE of 1.2 in the quick run and 1.75 in the longer run. Both values are worse than the straight line.
#
# Without weight decay, the ReLU network has a lower training MSE in the quick run, 0.09 against 0.46. But its test MSE
# is 20.3. The slope of a straight piece is a sum of products of two weights. Weight decay keeps these weights small.
# The last pieces are then flatter, and stay nearer to the wave.
#
# The snake is not always the better activation. We chose a line plus a wave, because we knew the data. The first
# exercise changes the wave.

# 5. How do you add an operation? You write a function and its vjp, and check both with `gradcheck`. The left plot shows
#    the operation with its two derivatives. The right plot shows the networks inside and outside the training data.
x = sa.tensor(np.linspace(-6, 6, 500), requires_grad=True)  # a Tensor, because we differentiate by x
y = snake(x)
first = sa.grad(y.sum(), x, create_graph=True)  # with a graph, because we differentiate again
second = sa.grad(first.sum(), x)
figure = style.new_figure(14, 4.8)
ax = style.add_axes(figure, (1, 3, 1), "x", "", "The operation")
for values, name in ((y, "snake(x)"), (first, "first derivative"), (second, "second derivative")):
    ax.plot(x.numpy(), values.numpy(), label=name, marker="", linewidth=1.8)
style.legend(ax, "upper left")
wide = np.linspace(-10, 10, 800, dtype=np.float32)[:, None]
ax = style.add_axes(figure, (1, 3, (2, 3)), "x", "y", "Networks inside and outside the training data")
ax.axvspan(-7.5, 7.5, color="#F4F4F4", label="validation points")
ax.axvspan(-5, 5, color=style.GRID, label="training points")
ax.plot(wide, wave(wide), color="#AAAAAA", marker="", linewidth=7, label=f"sin({FREQUENCY:g} x) + 0.3 x")
for name, predict in methods.items():
    ax.plot(wide, predict(wide), marker="", linewidth=1.8, label=name)
ax.set(ylim=(-6, 8), xlim=(-10, 10))
style.legend(ax, "upper left", ncols=2)
style.finish(figure, args.out / "answer.png")
print(f"picture: {args.out / 'answer.png'}")

verdict("snake network: training MSE", 1e-3, mse(methods["snake"], x_train))
verdict("snake network: test MSE over the straight line's", 0.1, test["snake"] / test["straight line"])
verdict("snake network: test MSE over the ReLU network's", 0.1, test["snake"] / test["ReLU"])
finish()

# Exercises. The solutions are in tutorials/solutions/00_write_an_op.py.
#
# Change a constant: set FREQUENCY to 2, then to 3. Is the test MSE of the snake network still smaller than the straight
# line's? The weights of the first layer start between -1 and 1.
#
# Explain a number: `sa.gradcheck(F.relu, [np.zeros(1)])` raises an error, although the vjp of the ReLU is correct.
# Which two slopes does the finite difference at x = 0 combine?
#
# Write code: write a snake with a frequency a, x + sin(a x)^2 / a. You need a vjp for x and a vjp for a. scratchae adds
# the vjp of a over all rows. Check both vjps. Make a layer that learns one number a for each hidden neuron.
# `nn.Parameter` makes an array a parameter. Start with a = 2. Does the network now continue the wave of frequency 3?
