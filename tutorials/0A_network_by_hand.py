"""How does a network learn from its errors?

A neural network is a function with many numbers inside. These numbers are called parameters. Training changes the
parameters until the outputs are right. In this lesson, you compute a small network by hand, then with NumPy, and then
with scratchae. The last two must give the same numbers.

The building block is the neuron. A neuron takes a vector x and returns the number a:

    z = W x + b            weights W, one for each input, and a bias b
    a = activation(z)      a curve, for example tanh or the sigmoid 1 / (1 + exp(-z))

A layer is a group of neurons with the same inputs. This lesson's network has two layers. It maps n points of the plane
to n numbers between 0 and 1:

      points             hidden layer              output
    x (n, 2) ---------> h (n, 8) ---------> a (n, 1)
         h = tanh(x W1^T + b1)    a = sigmoid(h W2^T + b2)

The task is to separate a disc from the ring around the disc. The baseline, the result to compare with, is the best
straight line. We find this line by trying 79,560 lines.

    python tutorials/0A_network_by_hand.py     a few seconds; --quick changes nothing
"""

import numpy as np
from common import finish, settings, verdict

from scratchae import functional as F
from scratchae import nn, optim
from scratchae.plotting import style

HIDDEN = 8
STEPS = 2000
LR = 1.0

args = settings(__file__, __doc__, uses_data=False)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# 1. One neuron has the inputs x = (1, 2) and the parameters W = (3, -1) and b = -1. The correct output is y = 1. The
#    loss L = (a - y)^2 measures the error. These four lines are the forward pass, from the inputs to the loss:
#
#        z = 3 * 1 + (-1) * 2 + (-1) = 0
#        a = sigmoid(0)              = 1 / 2
#        L = (1 / 2 - 1)^2           = 1 / 4
x, y = np.array([1.0, 2.0]), 1.0
W, b = np.array([3.0, -1.0]), -1.0


def loss_of(W, b):
    return float((sigmoid(W @ x + b) - y) ** 2)


a = sigmoid(W @ x + b)
print(f"one neuron: z = {W @ x + b:g}, a = {a:g}, L = {loss_of(W, b):g}")

# Predict first: the output a is too small. How should the weights 3 and -1 change? Choose (a) the first grows and the
# second falls, because the second is negative, or (b) both grow equally, or (c) both grow, the second twice as much.
#
# 2. The derivative of L with respect to a weight tells how L changes with this weight. L depends on W in three steps,
#    W -> z -> a -> L. The chain rule multiplies the derivatives of the steps. Begin at the loss, and go back:
#
#        dL/da = 2 (a - y)   = 2 (1/2 - 1)               = -1
#        da/dz = a (1 - a)   = 1/2 * 1/2                 = 1/4         the slope of the sigmoid
#        dz/dW = x           = (1, 2),   dz/db = 1
#
#        dL/dW = dL/da * da/dz * dz/dW = -1 * 1/4 * (1, 2) = (-1/4, -1/2)
#        dL/db = dL/da * da/dz * dz/db = -1 * 1/4 * 1      = -1/4
#
#    The vector of all these derivatives is the gradient. This computation is the backward pass, or backpropagation.
dL_dz = 2 * (a - y) * a * (1 - a)
dL_dW, dL_db = dL_dz * x, dL_dz
print(f"gradient: dL/dW = {dL_dW}, dL/db = {dL_db:g}")

#    Gradient descent moves each parameter against its derivative, W - LR * dL/dW. The factor LR is the learning rate.
W_next, b_next = W - LR * dL_dW, b - LR * dL_db
print(f"after a step: W = {W_next}, b = {b_next:g}, L = {loss_of(W_next, b_next):.4f}")

# What you should see, and why: answer (c). The derivatives are negative, so both weights grow. The second derivative
# is twice the first, because the input 2 is twice the input 1. The sign of the weight has no influence. One step
# reduces the loss from 0.25 to 0.0333.

# 3. Is the gradient right? Finite differences check the gradient without any formula. Move one weight by a small
#    number s to both sides, and measure the slope of L:
#
#        dL/dW_1 = (L(W_1 + s) - L(W_1 - s)) / (2 s)     nearly
#
# Predict first: which s gives the smallest error? Choose (a) 0.1, or (b) 0.00001, or (c) 0.0000000000001, because a
# smaller s is always better.
move = np.array([1.0, 0.0])  # only the first weight
step_errors = {}
for s in (1e-1, 1e-5, 1e-13):
    slope = (loss_of(W + s * move, b) - loss_of(W - s * move, b)) / (2 * s)
    step_errors[s] = abs(slope - dL_dW[0])
    print(f"finite difference with s = {s:.0e}: {slope:.12f}, error {step_errors[s]:.1e}")

# What you should see, and why: answer (b). With s = 0.1, the curve of L bends between the two points. With s = 1e-13,
# both losses are equal in nearly all of their 16 digits. Their difference keeps only the last digits, and these are
# rounded.

# 4. Now the points: 200 for training and 2,000 new ones for the test. The label y is 1 in the disc (radius 0 to 1) and
#    0 in the ring (radius 1.3 to 2.2). An output above 1/2 is the answer "disc". The accuracy is the share of right
#    answers.


def disc_and_ring(n, seed):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    radius = np.where(y == 1, rng.uniform(0, 1, n), rng.uniform(1.3, 2.2, n))
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y[:, None].astype(float)


def accuracy(answers, y):
    return float(np.mean(answers == (y == 1)))


x_train, y_train = disc_and_ring(200, seed=0)
x_test, y_test = disc_and_ring(2000, seed=1)
normals = [np.array([np.cos(t), np.sin(t)]) for t in np.radians(np.arange(360))]
lines = [(normal, offset) for normal in normals for offset in np.linspace(-2.2, 2.2, 221)]
best = max(lines, key=lambda line: accuracy(x_train @ line[0] < line[1], y_train[:, 0]))
line_accuracy = accuracy(x_test @ best[0] < best[1], y_test[:, 0])
print(f"best of {len(lines):,} straight lines: test accuracy {line_accuracy:.1%}")

# 5. The network in NumPy. All points go through the network together, as the rows of x. The backward pass is the chain
#    rule of step 2, layer by layer, from the loss to the first layer. `tanh` has the slope 1 - tanh(z)^2. The option
#    `active=False` removes the activation of the hidden layer.


def forward(parameters, x, active=True):
    W1, b1, W2, b2 = parameters
    z1 = x @ W1.T + b1
    h = np.tanh(z1) if active else z1
    return h, sigmoid(h @ W2.T + b2)


def backward(parameters, x, y, h, a, active=True):
    W2 = parameters[2]
    dL_dz2 = 2 * (a - y) / len(y) * a * (1 - a)  # the loss is a mean over the points
    dL_dh = dL_dz2 @ W2
    dL_dz1 = dL_dh * (1 - h**2) if active else dL_dh
    return [dL_dz1.T @ x, dL_dz1.sum(axis=0), dL_dz2.T @ h, dL_dz2.sum(axis=0)]


def train(parameters, active=True):
    losses = []
    for _ in range(STEPS):
        h, a = forward(parameters, x_train, active)
        losses.append(np.mean((a - y_train) ** 2))
        gradients = backward(parameters, x_train, y_train, h, a, active)
        parameters = [p - LR * g for p, g in zip(parameters, gradients, strict=True)]
    return parameters, losses


rng = np.random.default_rng(0)
start = [rng.uniform(-0.5, 0.5, shape) for shape in ((HIDDEN, 2), HIDDEN, (1, HIDDEN), 1)]

# Predict first: without its activation, the network has the same 33 parameters. Which test accuracy do you expect?
# Choose (a) about 60%, near the straight line, or (b) about 80%, or (c) 99%, as with the activation.
linear, linear_losses = train(start, active=False)
network, losses = train(start)
linear_accuracy = accuracy(forward(linear, x_test, False)[1] > 0.5, y_test)
network_accuracy = accuracy(forward(network, x_test)[1] > 0.5, y_test)
print(f"without activation: loss {linear_losses[-1]:.4f}, test accuracy {linear_accuracy:.1%}")
print(f"with tanh:          loss {losses[-1]:.4f}, test accuracy {network_accuracy:.1%}")

# What you should see, and why: answer (a). Without activation, W2 (W1 x + b1) + b2 is again a weight matrix times x,
# plus a bias. So the two layers are worth one neuron, and the border of one neuron is a straight line. With tanh, each
# hidden neuron has a line of its own, and the output adds eight smooth steps to a closed border.

# 6. The same network with scratchae. `loss.backward()` computes all gradients, and `optimizer.step()` moves the
#    parameters. scratchae normally uses 32 bits per number. Here we choose 64 bits, as NumPy does.
#
# Predict first: how much do the parameters differ from ours after 2,000 steps? Choose (a) by exactly 0, or (b) in the
# last of 16 digits, or (c) by about 1%, as errors add up.
model = nn.Sequential(nn.Linear(2, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1), nn.Sigmoid()).to(np.float64)
model.load_state_dict(dict(zip(model.state_dict(), start, strict=True)))
optimizer = optim.SGD(model.parameters(), lr=LR)
library_losses = []
for step in range(STEPS):
    loss = F.mse_loss(model(x_train), y_train)
    optimizer.zero_grad()
    loss.backward()
    if step == 0:
        first_gradients = [p.grad.copy() for p in model.parameters()]
    optimizer.step()
    library_losses.append(loss.item())


def difference(ours, theirs):
    return max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))


gradients = backward(start, x_train, y_train, *forward(start, x_train))
gradient_difference = difference(gradients, first_gradients)
loss_difference = float(np.abs(np.array(losses) - library_losses).max())
parameter_difference = difference(network, [p.numpy() for p in model.parameters()])
print(f"largest difference: first gradients {gradient_difference:.1e}, losses {loss_difference:.1e}, "
      f"parameters at the end {parameter_difference:.1e}")  # fmt: skip

# What you should see, and why: answer (b). The largest difference is about 2e-15. scratchae records each operation of
# the forward pass, and applies the same chain rule backwards. Both programs only add in another order, and each sum
# rounds its last digit.

# 7. The picture shows the training points, and each network's answer for each place in the plane. The black line is the
#    border, where the output is 1/2. Thin grey lines belong to the hidden neurons (z = 0).
side = np.linspace(-3, 3, 251)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
figure = style.new_figure(13, 4.2)
named = {"Without activation": (linear, False), "With tanh in the hidden layer": (network, True)}
for i, (title, (parameters, active)) in enumerate(named.items()):
    ax = style.add_axes(figure, (1, 3, i + 1), "x1", "x2", title)
    output = forward(parameters, grid, active)[1].reshape(251, 251)
    colours = ax.contourf(side, side, output, np.linspace(0, 1, 11), cmap="RdBu", alpha=0.4)
    ax.contour(side, side, output, [0.5], colors="black", linewidths=2)
    for (w1, w2), bias in zip(parameters[0], parameters[1], strict=True) if active else ():
        ax.axline((-w1 * bias / (w1**2 + w2**2), -w2 * bias / (w1**2 + w2**2)), slope=-w1 / w2, color=style.SPINE,
                  linewidth=1, marker="")  # fmt: skip
    for label, name, place in ((1, "disc, y = 1", 0), (0, "ring, y = 0", 1)):
        points = x_train[y_train[:, 0] == label]
        ax.scatter(*points.T, s=22, color=style.PALETTE[place], marker=style.MARKERS[place], edgecolors="white",
                   linewidths=0.5, label=name)  # fmt: skip
    ax.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
style.legend(figure.axes[0], "upper left")
bar = figure.colorbar(colours, ax=figure.axes[1], ticks=[0, 0.5, 1])
style.tidy_bar(bar, None)
bar.ax.set_title("a", fontsize=11, color=style.INK)
ax = style.add_axes(figure, (1, 3, 3), "step", "training loss", "Both programs learn alike")
ax.plot(linear_losses, marker="", linewidth=1.8, label="without activation, NumPy")
ax.plot(losses, marker="", linewidth=1.8, label="tanh, NumPy")
ax.plot(library_losses, linestyle="", marker="^", markevery=100, markersize=5, label="tanh, scratchae")
ax.set_ylim(0)
style.legend(ax, "center right")
style.finish(figure, args.out / "answer.png")
print(f"picture: {args.out / 'answer.png'}")

verdict("one neuron: finite difference against the chain rule", 1e-8, step_errors[1e-5])
verdict("test accuracy with tanh", 0.98, network_accuracy, at_least=True)
verdict("test accuracy with tanh, minus the best line's", 0.3, network_accuracy - line_accuracy, at_least=True)
verdict("parameters after all steps, NumPy against scratchae", 1e-10, parameter_difference)
verdict("first gradients, NumPy against scratchae", 1e-14, gradient_difference)
verdict("all losses, NumPy against scratchae", 1e-10, loss_difference)
finish()

# Exercises. The solutions are in tutorials/solutions/0A_network_by_hand.py.
#
# Change a constant: set HIDDEN to 3, then to 2. Each hidden neuron has one line. How many lines can enclose a disc?
# Predict both test accuracies first.
#
# Explain a number: give the neuron of step 1 the bias 19 and the correct output y = 0. Now z = 20, and the loss is
# nearly 1, its largest value. But dL/dz is only 4e-9, so the neuron hardly learns. Which factor is so small?
#
# Write code: replace tanh in the hidden layer by the ReLU, max(z, 0). You need its value in `forward` and its slope in
# `backward`. Check the gradient of a weight with finite differences. Then train, and compare the test accuracies.
