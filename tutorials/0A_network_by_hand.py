"""How does a network learn from its errors?

A neural network is a function that contains many numbers, the parameters. Training changes the parameters until the
outputs are nearly correct. In this tutorial, you first compute one neuron by hand. Then you train a small network with
NumPy, and the same network with scratchae. Both programs must find the same numbers.

A neuron is the smallest part of a network. A neuron takes a vector x and returns a number a:

    z = W x + b            W: the weights, one for each input; b: the bias
    a = activation(z)      a curve, for example tanh(z) or sigmoid(z) = 1 / (1 + exp(-z))

A layer is a group of neurons with the same inputs. The network of this tutorial has two layers. The network maps n
points of the plane to n numbers between 0 and 1. Each row of x is a point, so the layers multiply by the transposed
weights:

      points             hidden layer              output
    x (n, 2) ---------> h (n, 8) ---------> a (n, 1)
         h = tanh(x W1^T + b1)    a = sigmoid(h W2^T + b2)

The network must separate the points of a disc from the points of a ring around this disc. The baseline, the result to
compare with, is the best straight line. We find this line among 79,560 lines.

    python tutorials/0A_network_by_hand.py     5 to 15 seconds; --quick changes nothing
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


# 1. We begin with one neuron and the sigmoid. The input is x = (1, 2). The parameters are W = (3, -1) and b = -1. The
#    correct output is y = 1. The loss L = (a - y)^2 measures the error. The forward pass computes the loss from the
#    input:
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

# Predict first: the output a = 1/2 is too small. How should the weights 3 and -1 change? Choose (a) the first weight
# grows and the second falls, or (b) both grow by the same amount, or (c) both grow, the second twice as much.

# 2. Take paper and compute with us. The loss depends on W through z and a, W -> z -> a -> L. Each arrow has a
#    derivative. By the chain rule, dL/dW is the product of the three derivatives. We begin at the loss and go back:
#
#        dL/da = 2 (a - y) = 2 (1/2 - 1) = -1
#        da/dz = a (1 - a) = 1/2 * 1/2   = 1/4         the slope of the sigmoid
#        dz/dW = x = (1, 2)
#        dz/db = 1
#
#        dL/dW = dL/da * da/dz * dz/dW = -1 * 1/4 * (1, 2) = (-1/4, -1/2)
#        dL/db = dL/da * da/dz * dz/db = -1 * 1/4 * 1      = -1/4
#
#    The gradient is the list of the derivatives of the loss by each parameter. The backward pass computes the gradient
#    from the loss back to the input. The backward pass with the chain rule is called backpropagation.
#
#    Gradient descent then moves each parameter against its derivative, for example W - LR * dL/dW. The factor LR is the
#    learning rate.
dL_dz = 2 * (a - y) * a * (1 - a)
dL_dW, dL_db = dL_dz * x, dL_dz
print(f"gradient: dL/dW = {dL_dW}, dL/db = {dL_db:g}")
W_next, b_next = W - LR * dL_dW, b - LR * dL_db
print(f"after a step: W = {W_next}, b = {b_next:g}, L = {loss_of(W_next, b_next):.4f}")

# What you should see, and why: answer (c). Both derivatives are negative, so both weights grow. The second derivative
# is twice the first, because the second input is twice the first. The formula for dL/dW contains the inputs, but not
# the signs of the weights. One step reduces the loss from 0.25 to 0.0333.

# 3. Is the gradient correct? You can measure a slope without the chain rule. Let w be the first weight. Compute the
#    loss at w + s and at w - s, for a small number s. The finite difference is the slope between these two losses:
#
#        (L(w + s) - L(w - s)) / (2 s)     is nearly dL/dw

# Predict first: which s gives the smallest error? Choose (a) 0.1, or (b) 1e-5 = 0.00001, or (c) 1e-13, the smallest.
move = np.array([1.0, 0.0])  # only the first weight
step_errors = {}
for s in (1e-1, 1e-5, 1e-13):
    slope = (loss_of(W + s * move, b) - loss_of(W - s * move, b)) / (2 * s)
    step_errors[s] = abs(slope - dL_dW[0])
    print(f"finite difference with s = {s:.0e}: {slope:.12f}, error {step_errors[s]:.1e}")

# What you should see, and why: answer (b). The errors are 2e-4, 7e-12 and 2e-4. With s = 0.1, the two places are far
# apart, and the loss bends between them. With s = 1e-13, both losses agree in about 13 of their 16 digits. The
# difference keeps only the last digits, and these digits are rounded.

# 4. The network gets 200 points for training, and we test it with 2,000 new points. Half of the points lie in the disc
#    (radius 0 to 1), with the label y = 1. The other half lie in the ring (radius 1.3 to 2.2), with y = 0. An output
#    above 1/2 counts as the answer "disc". The accuracy is the share of correct answers.


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

# 5. This is the network in NumPy. The first layer is called hidden, because its values h are neither inputs nor
#    outputs. The backward pass is the chain rule of part 2, from the loss through the second layer to the first. The
#    slope of tanh(z) is 1 - tanh(z)^2 = 1 - h^2. All points go through the network together, one point in each row. The
#    product `dL_dz2.T @ h` is the sum of dL/dz * h over all points. With `active=False`, the hidden layer has no
#    activation.


def forward(parameters, x, active=True):
    W1, b1, W2, b2 = parameters
    z1 = x @ W1.T + b1
    h = np.tanh(z1) if active else z1
    return h, sigmoid(h @ W2.T + b2)


def backward(parameters, x, y, h, a, active=True):
    W2 = parameters[2]
    dL_dz2 = 2 * (a - y) / len(y) * a * (1 - a)  # as in part 2; the loss is the mean over all points
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

# Predict first: the network has 33 parameters, with or without activation. Which test accuracy has the network without
# activation? Choose (a) not more than the straight line, or (b) about 80%, or (c) 99%, the same as with tanh.
linear, linear_losses = train(start, active=False)
network, losses = train(start)
linear_accuracy = accuracy(forward(linear, x_test, False)[1] > 0.5, y_test)
network_accuracy = accuracy(forward(network, x_test)[1] > 0.5, y_test)
print(f"without activation: loss {linear_losses[-1]:.4f}, test accuracy {linear_accuracy:.1%}")
print(f"with tanh:          loss {losses[-1]:.4f}, test accuracy {network_accuracy:.1%}")

# What you should see, and why: answer (a). The accuracies are 66.2% for the best line, 56.2% without activation and
# 99.2% with tanh. Without activation, the second layer computes W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2). The
# formula has the form W x + b again. So the two layers can do no more than one neuron, and the border of one neuron is
# a straight line. The border is worse than the best line. Training reduces the loss, not the number of wrong answers.
# With tanh, each hidden neuron changes smoothly across its own line. The output layer combines the eight neurons to a
# closed border.

# 6. Now we build the same network with scratchae. `load_state_dict` copies the start parameters into the network.
#    `loss.backward()` adds the gradient to the stored gradient, so `zero_grad` first deletes the old gradient.
#    `optimizer.step()` is the step of gradient descent. Numbers in scratchae normally have 32 bits. Here the numbers
#    get 64 bits, as in NumPy.

# Predict first: both programs start from the same parameters. How much do the parameters differ after 2,000 steps?
# Choose (a) by exactly 0, or (b) in the last of 16 digits, or (c) by about 1%.
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

# What you should see, and why: answer (b). The largest difference is about 2e-15. scratchae records the operations of
# the forward pass. Then scratchae applies the chain rule to each operation, from the last to the first. The formulas
# are the same. But the programs round some results differently, and a rounding changes the last digit.

# 7. How does a network learn from its errors? Each of the 2,000 steps computes the loss and the gradient, and moves the
#    parameters a little against the gradient. The picture shows the result with the training points. The colour is the
#    output a at each place of the plane. On the black line, the border, a is 1/2. On each thin grey line, one hidden
#    neuron has z = 0.
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
# Change a constant: set HIDDEN to 3, then to 2. Each hidden neuron has one line. How many lines do you need to enclose
# a disc? Predict both test accuracies first.
#
# Explain a number: change the neuron of part 1 to the bias b = 19 and the correct output y = 0. Now z = 20, and the
# loss is nearly 1, its largest value. But dL/dz is only 4e-9, so the neuron hardly learns. Which factor is so small?
#
# Write code: replace tanh in the hidden layer by the ReLU, max(z, 0). Change the value in `forward` and the slope in
# `backward`. Check the derivative of one weight with a finite difference. Then train, and compare the test accuracies.
