"""Can two processes train one model, and end with the weights of one process?

Each process has a copy of all weights, and gets a part of each batch. The gradients of the parts are added. Each copy
then takes the same step. This method is called data parallelism, and most large networks are trained in this way
(P. Goyal et al., "Accurate, large minibatch SGD", 2017).

                       +--> its 64 rows --> process 0 --> gradient g_0 --+
    batch (128, 784) --+                                                 +--> sum --> one step in each process
                       +--> its 64 rows --> process 1 --> gradient g_1 --+

The loss of a batch of n rows is a mean over the rows. Process k computes the mean over its n_k rows, and has the
gradient g_k of this mean. The gradient of the whole batch is therefore

    g = (n_0 / n) g_0 + (n_1 / n) g_1

The baseline is one process. The batches, their order and the steps are equal, so only the time of the training should
change. The same script runs alone and under mpiexec. Alone, the script starts itself again as two processes, and
compares the weights.

    python tutorials/13_data_parallel.py                 the embedded sample, about a minute
    python tutorials/13_data_parallel.py --data full     all of MNIST, a few minutes
    mpiexec -n 2 python tutorials/13_data_parallel.py    as two processes (pip install 'scratchae[mpi]')
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import numpy as np
from common import finish, load, settings, verdict

import scratchae as sa
from scratchae import data, optim, plotting
from scratchae import functional as F

SIZES = (784, 128, 64)
BATCH_SIZE = 128  # batch of all processes together
LR = 2e-3
EPOCHS = {"quick": 5, "sample": 15, "full": 4}  # 180, 540 and 1,720 steps
# Two processes against one. Each step adds to the difference of the weights. We therefore compare float32 after a few
# epochs only, and float64 at the end of training.
SINGLE, DOUBLE = 1e-5, 1e-12
COMPARED = {"quick": 5, "sample": 5, "full": 1}  # epochs
RUNS = {  # name -> activation, dtype
    "GELU, float32": ("gelu", "float32"),
    "GELU, float64": ("gelu", "float64"),
    "ReLU, float32": ("relu", "float32"),
}

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)

# 1. Which process runs this script? `init` asks the launcher. Alone, `init` returns a world of one process. All
#    processes run the whole script. Only the first process keeps its output, so each line is printed once.
world = sa.distributed.init()
if world.rank > 0:
    sys.stdout = open(os.devnull, "w")


def build(activation="gelu", dtype="float32"):
    sa.manual_seed(0)
    return sa.Autoencoder.dense(SIZES, activation, output="sigmoid", loss="bce", code_activation=None).to(dtype)


def weights(model):
    return np.concatenate([value.ravel() for value in model.state_dict().values()])


def difference(some, others):
    """The length of the difference vector, over the length of `others`."""
    return float(np.linalg.norm(some - others) / np.linalg.norm(others))


# 2. The formula needs no second process. We divide one batch into two halves, and weigh each loss by its share n_k / n.
#    The second call of backward() adds its gradient to the first gradient.
#
# Predict first: how large is the difference, divided by the length of the gradient? Choose (a) about 0.01, or (b) about
# 1e-7, or (c) exactly 0.
batch, halves = digits.train[:BATCH_SIZE], np.array_split(digits.train[:BATCH_SIZE], 2)
whole, cut = build(), build()
whole.loss(batch).backward()
for half in halves:
    (cut.loss(half) * (len(half) / len(batch))).backward()
of_whole, of_cut = (np.concatenate([p.grad.ravel() for p in model.parameters()]) for model in (whole, cut))
print(f"gradient of a batch against the sum over its halves: relative difference {difference(of_cut, of_whole):.1g}")

# What you should see, and why: answer (b). In the quick run, the relative difference is 1e-7. float32 rounds each
# number to about 7 digits. The halves add the same numbers in another order, and round differently.


# 3. The loop by hand is an ordinary training loop with three additions. First, the loader gives each process its rows
#    of each batch. The shuffled order follows from the seed, so all processes have the same order. Second, we weigh the
#    loss by the share of the rows. Third, `sum` replaces the gradient of each process by the sum over all processes.
#    All processes get the same bits, so their weights stay equal without an exchange of weights. The optimiser holds
#    all gradients in one array, so a step needs one exchange.
def train_by_hand(model, epochs):
    optimizer = optim.Adam(model.parameters(), lr=LR)
    loader = sa.DataLoader(digits.train, BATCH_SIZE, shuffle=True, seed=0)
    loader.part = (world.rank, world.size)
    for _ in range(epochs):
        for i, rows in enumerate(loader):
            loss = model.loss(rows) * (len(rows) / loader.batch_length(i))
            optimizer.zero_grad()
            loss.backward()
            for gradients in optimizer.gradients():
                world.sum(gradients)
            optimizer.step()
    return weights(model)


# 4. Trainer(..., distributed=True) does the same, and more. The Trainer checks that all processes have the same data
#    and settings. All processes start from the weights of the first process. After each epoch, the Trainer compares a
#    hash of all weights. Noise, dropout and batch norm depend on more than the rows of one process. With the Trainer,
#    these layers work as in one process. With the loop above, these layers would not.
class KeepWeights(sa.Callback):
    def on_fit_begin(self, trainer):
        self.after_epoch = []

    def on_epoch_end(self, trainer, row):
        self.after_epoch.append(weights(trainer.model))


def train(activation, dtype, progress):
    model, keep = build(activation, dtype), KeepWeights()
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR), [keep], distributed=True)
    images, held_out = digits.train.astype(dtype), digits.validation.astype(dtype)
    history = trainer.fit(images, held_out, EPOCHS[run], BATCH_SIZE, seed=0, progress=progress)
    return model, history, np.stack(keep.after_epoch)


loader = sa.DataLoader(digits.train, BATCH_SIZE)
loader.part = (world.rank, world.size)
rows = world.gather(len(next(iter(loader))))
print(f"\nprocesses: {world.size}; rows of each batch of {BATCH_SIZE} in each process: {rows}")
trained = {name: train(*how, progress=name == "GELU, float32") for name, how in RUNS.items()}
model, history, after_epoch = trained["GELU, float32"]
bce = F.binary_cross_entropy(model.reconstruct(digits.test), digits.test).item()
by_hand = train_by_hand(build(), epochs=1)
ends = set(world.gather(after_epoch[-1].tobytes()))
if world.rank == 0:  # only one process writes the files
    kept = {name: its_weights for name, (_, _, its_weights) in trained.items()}
    np.savez(args.out / "weights.npz", **kept, seconds=history["seconds"])


# 5. A script that runs alone starts once more as two processes. The second start needs mpi4py and mpiexec. Each process
#    gets its share of the cores. With more threads than cores, the processes would slow each other down.
#
# Predict first: we compare the weights of two processes with the weights of one process. How large is the relative
# difference after a few epochs with GELU in float32? Choose (a) 0, or (b) below 1e-5, or (c) about 0.1.
def train_as_two():
    """The weights.npz that `mpiexec -n 2` with this script writes. None if mpi4py or mpiexec is missing."""
    mpiexec = shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or shutil.which("mpiexec")
    if missing := [n for n, it in {"mpi4py": importlib.util.find_spec("mpi4py"), "mpiexec": mpiexec}.items() if not it]:
        print(f"\nnot run as two processes, {' and '.join(missing)} not found: pip install 'scratchae[mpi]'")
        return None
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    environment.pop("SCRATCHAE_RESULTS", None)
    script = Path(common.__file__).with_name("13_data_parallel.py")
    print(f"\nnow the same as two processes: mpiexec -n 2 python {script.name} {' '.join(sys.argv[1:])}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [mpiexec, "-n", "2", sys.executable, str(script), *sys.argv[1:], "--out", folder]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        print("".join(f"    {line}\n" for line in done.stdout.splitlines() if not line.startswith("pictures: ")))
        if done.returncode:
            sys.exit(f"{done.stderr}\nmpiexec ended with exit status {done.returncode}")
        with np.load(Path(folder) / script.stem / "weights.npz") as file:
            return dict(file)


two = train_as_two() if world.size == 1 else None
if two is not None:
    apart = {name: [difference(*pair) for pair in zip(kept[name], two[name], strict=True)] for name in RUNS}
    steps = -(-len(digits.train) // BATCH_SIZE) * np.arange(1, EPOCHS[run] + 1)
    plotting.curves(
        {name: (steps, [max(d, 1e-18) for d in values]) for name, values in apart.items()},
        args.out / "answer.png", "step", "relative difference of weights", "Two processes against one", ylog=True,
    )  # fmt: skip
    print("relative difference of weights, two processes against one, after each epoch")
    for name, values in apart.items():
        print(f"  {name:14}", *(f"{d:.0e}" for d in values))
    print(f"seconds of training: one process {sum(history['seconds']):.1f}, two {sum(two['seconds']):.1f}")
    print(f"picture: {args.out / 'answer.png'}")

# What you should see, and why: answer (b). With GELU in float32, the difference is 3e-6 after 5 epochs, in the quick
# run and on the sample. The number depends on the code that BLAS chooses for your processor. Four choices gave numbers
# from 3e-7 to 5e-6. In float64, the difference is 5e-15 in the quick run, and 1e-14 after 15 epochs on the sample. A
# mistake would be equally large in both precisions, so rounding is the only cause.
#
# ReLU is another case. On the sample, the difference is 6e-6 after 15 epochs. On all of MNIST, the difference is 0.001
# after the first epoch, and 0.1 after the fourth. The input of a ReLU unit can be 0 up to rounding. The unit is then on
# in one training, and off in the other. Adam makes steps of full size, even from small gradients. The two trainings
# then go apart, without a mistake. The processes of one run always stay equal, bit by bit.
#
# Two processes save time only if each has a core of its own. On one core, two processes took 7.9 s of training on the
# sample, and one process took 2.0 s.

# 6. All processes reach the same verdict, and end with the same exit status.
verdict("test BCE", {"quick": 0.18, "sample": 0.127, "full": 0.09}[run], bce)
verdict("loop by hand against Trainer, an epoch", SINGLE, difference(by_hand, after_epoch[0]))
if world.size > 1:
    verdict("weights that differ among the processes", 0, len(ends) - 1)
if two is not None:
    few = COMPARED[run] - 1
    verdict(f"two processes against one, float32, {steps[few]:,} steps", SINGLE, apart["GELU, float32"][few])
    verdict(f"two processes against one, float64, {steps[-1]:,} steps", DOUBLE, apart["GELU, float64"][-1])
finish()

# Exercises. The solutions are in tutorials/solutions/13_data_parallel.py.
#
# Change a constant: in place of two halves, divide `batch` into 4 parts, and then into 128 parts of one row. Does the
# difference grow in proportion to the number of parts?
#
# Explain a number: 3 processes share a batch of 128 rows. The parts have 43, 43 and 42 rows. Average the three
# gradients without weights. How wrong is the average, and which training would hide the error?
#
# Write code: train with the gradients of two halves, in one process. Does the loop end with the weights of the ordinary
# loop? Use float64, and then float32.
