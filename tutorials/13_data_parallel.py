"""Several processes, one model: each takes a part of every batch, and what they learn is one and the same.

The gradient of a batch is the sum of what its images contribute. So a batch can be cut: each process sends its own
rows through its own copy of the model, the gradients are added up over all processes, and every copy takes the same
step. This is data parallelism, the way in which most large networks are trained (P. Goyal et al., "Accurate, large
minibatch SGD", 2017). Nothing about the training changes but the time: batches, order and steps are those of one
process, and so are the weights, up to the rounding of a sum that was added in another order.

The same script runs alone and under mpiexec. Alone, it starts itself again as two processes, and compares.

    python tutorials/13_data_parallel.py                 the embedded sample, under a minute
    python tutorials/13_data_parallel.py --data full     all 60,000 images, a few minutes
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

SIZES = (784, 128, 64)
BATCH_SIZE = 128  # of all processes together
LR = 2e-3
EPOCHS = {"quick": 5, "sample": 15, "full": 4}  # 200, 600 and 1,876 steps
TARGET = {"quick": 0.18, "sample": 0.127, "full": 0.09}  # test BCE
SINGLE, DOUBLE = 1e-5, 1e-12  # two processes against one, for weights of some 0.1: in float64 to the end of training,
COMPARED = {"quick": 5, "sample": 5, "full": 1}  # in float32 after these epochs, as each step adds to the difference
RUNS = {  # name -> activation, dtype
    "GELU, float32": ("gelu", "float32"),
    "GELU, float64": ("gelu", "float64"),
    "ReLU, float32": ("relu", "float32"),
}

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)

# 1. Who am I? `init` asks the launcher. Alone, it gives a world of one process, in which nothing has to be exchanged.
#    All processes run all of this script; so that each line is printed once, only the first one keeps its output.
world = sa.distributed.init()
if world.rank > 0:
    sys.stdout = open(os.devnull, "w")


def build(activation="gelu", dtype="float32"):
    sa.manual_seed(0)
    return sa.Autoencoder.dense(SIZES, activation, output="sigmoid", loss="bce", code_activation=None).to(dtype)


def weights(model):
    return np.concatenate([value.ravel() for value in model.state_dict().values()])


def difference(some, others):
    return float(np.abs(some - others).max())


# 2. Why it works, on one batch and without any process: two halves, each loss weighted by its share of the batch. A
#    second backward() adds its gradient to the first one's, as the exchange will do between processes.
batch, halves = train_images[:BATCH_SIZE], np.array_split(train_images[:BATCH_SIZE], 2)
whole, cut = build(), build()
whole.loss(batch).backward()
for half in halves:
    (cut.loss(half) * (len(half) / len(batch))).backward()
of_whole, of_cut = (np.concatenate([p.grad.ravel() for p in model.parameters()]) for model in (whole, cut))
print(f"gradient of a batch against the sum over its halves: largest difference "
      f"{difference(of_whole, of_cut):.1g}, largest entry {np.abs(of_whole).max():.1g}")  # fmt: skip


# 3. The loop by hand: that of every script, and three things more. The loader gives each process its rows of each
#    batch, all of them in the same shuffled order, which follows from the seed. The loss, a mean over these rows, is
#    weighted by their share. And `sum` replaces each process's gradient by everyone's sum, in the same bits, so that
#    the models stay equal without ever being sent around. The optimiser holds all gradients in one array: one
#    exchange a step.
def train_by_hand(model, epochs):
    optimizer = optim.Adam(model.parameters(), lr=LR)
    loader = sa.DataLoader(train_images, BATCH_SIZE, shuffle=True, seed=0)
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


# 4. The same in one word: Trainer(..., distributed=True). It also makes sure that all processes have the same data and
#    settings, starts them from the first one's weights, and compares a hash of all weights after each epoch. Noise,
#    dropout and batch norm, which look beyond a process's own rows, go on as if there were one process; the loop above
#    would know nothing of that. Three runs, to see what rounding does: in single and in double precision, and with
#    another activation.
class KeepWeights(sa.Callback):
    def on_fit_begin(self, trainer):
        self.after_epoch = []

    def on_epoch_end(self, trainer, row):
        self.after_epoch.append(weights(trainer.model))


def train(activation, dtype, progress):
    model, keep = build(activation, dtype), KeepWeights()
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR), [keep], distributed=True)
    images, held_out = train_images.astype(dtype), test_images.astype(dtype)
    history = trainer.fit(images, held_out, EPOCHS[run], BATCH_SIZE, seed=0, progress=progress)
    return model, history, np.stack(keep.after_epoch)


loader = sa.DataLoader(train_images, BATCH_SIZE)
loader.part = (world.rank, world.size)
rows = world.gather(len(next(iter(loader))))
print(f"\nprocesses: {world.size}; rows of each batch of {BATCH_SIZE} that each of them takes: {rows}")
trained = {name: train(*how, progress=name == "GELU, float32") for name, how in RUNS.items()}
model, history, after_epoch = trained["GELU, float32"]
by_hand = train_by_hand(build(), epochs=1)
ends = set(world.gather(after_epoch[-1].tobytes()))
if world.rank == 0:  # files are for one process to write
    kept = {name: its_weights for name, (_, _, its_weights) in trained.items()}
    np.savez(args.out / "weights.npz", **kept, seconds=history["seconds"])


# 5. Alone? Then once more as two, if the machine has what that takes. Each gets its share of the cores: two processes
#    with as many threads as there are cores would only fight for them.
def train_as_two():
    """What `mpiexec -n 2` with this script leaves in weights.npz; None where mpi4py or mpiexec are missing."""
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

# 6. Look at it. With GELU, a smooth curve, the difference stays small, and in double precision it is nine digits
#    smaller still: rounding and nothing else, for a mistake would be as large in both. With ReLU it may become as large
#    as the weights, and nothing is wrong either. Where a unit's input is 0 up to rounding, one run finds the unit on
#    and the other off, and Adam makes steps of full size from small gradients too. From there on these are two
#    trainings, equally good. (The processes of one run stay together whatever happens, bit by bit.)
if two is not None:
    apart = {name: [difference(*pair) for pair in zip(kept[name], two[name], strict=True)] for name in RUNS}
    steps = -(-len(train_images) // BATCH_SIZE) * np.arange(1, EPOCHS[run] + 1)
    plotting.curves(
        {name: (steps, [max(d, 1e-18) for d in values]) for name, values in apart.items()},
        args.out / "difference.png", "step", "largest difference of weights", "Two processes against one", ylog=True,
    )  # fmt: skip
    print("largest difference of weights, two processes against one, after each epoch")
    for name, values in apart.items():
        print(f"  {name:14}", *(f"{d:.0e}" for d in values))
    print(f"seconds of training: one process {sum(history['seconds']):.1f}, two {sum(two['seconds']):.1f}")
if world.rank == 0:
    plotting.loss_curves(history, args.out / "loss.png", f"MNIST, {world.size} process{'es' * (world.size > 1)}")
    plotting.reconstructions(test_images[:10], model.reconstruct(test_images[:10]), args.out / "reconstructions.png")
    print(f"pictures: {args.out}")

# 7. All processes come to the same verdict, and end with the same exit status.
verdict("test BCE", TARGET[run], history["val_loss"][-1])
verdict("loop by hand against Trainer, an epoch", SINGLE, difference(by_hand, after_epoch[0]))
if world.size > 1:
    verdict("weights that differ among the processes", 0, len(ends) - 1)
if two is not None:
    few = COMPARED[run] - 1
    verdict(f"two processes against one, float32, {steps[few]:,} steps", SINGLE, apart["GELU, float32"][few])
    verdict(f"two processes against one, float64, {steps[-1]:,} steps", DOUBLE, apart["GELU, float64"][-1])
finish()
