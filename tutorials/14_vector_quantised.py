"""A discrete code: we build a new model, the VQ-VAE, from the package's layers, a codebook and a loss.

The code of an image is a map of 7 x 7 whole numbers. Each number names an entry of a codebook. The codebook is a table
of vectors, and learns together with the encoder and the decoder. At every place, the nearest entry replaces the
encoder's vector (van den Oord, Vinyals & Kavukcuoglu, "Neural discrete representation learning", 2017). Whole numbers
can be counted. The counts give a probability for the next number. With these probabilities, we can make the codes still
shorter, and draw new images.

    python tutorials/14_vector_quantised.py                 the embedded sample, two minutes
    python tutorials/14_vector_quantised.py --data full     all 60,000 images, about eight minutes
"""

import numpy as np
from common import finish, load, pca, settings, verdict

import scratchae as sa
from scratchae import data, nn, optim, plotting
from scratchae import functional as F
from scratchae.autoencoders import conv_decoder, conv_encoder

ENTRIES, ENTRY_SIZE = 64, 16  # 6 bits per place, 294 bits per image
CHANNELS, SIDE = (1, 32, 64), 7  # two strides of 2 give sides of 28, 14, 7
COMMITMENT = 0.25
STRENGTH = 20  # observations that weigh as much as the prediction of a coarser context
BATCH_SIZE = {"quick": 32, "sample": 32, "full": 64}
LR = 2e-3
EPOCHS = {"quick": 3, "sample": 12, "full": 4}
MSE_RATIO = {"quick": 0.5, "sample": 0.35, "full": 0.32}  # test MSE / PCA's test MSE at equal bits
PERPLEXITY = {"quick": 14, "sample": 14, "full": 12.5}  # perplexity of the codebook
BITS = {"quick": 122, "sample": 131, "full": 109}  # bits per image, given neighbours

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)


# 1. The codebook is a module with a single Parameter. Indexing looks up the entries, and indexing has a derivative.
#    Each entry receives the sum of the gradients from all places that chose this entry. The choice itself, `argmin`,
#    has no derivative.
class Codebook(nn.Module):
    def __init__(self, entries, size, spread):
        self.entries = nn.Parameter(np.empty((entries, size), np.float32))
        nn.init.normal_(self.entries, std=spread)

    def nearest(self, vectors):
        """Indices (N, H, W) of the entries nearest to vectors (N, C, H, W). |v|^2 is equal for all and left out."""
        vectors, entries = vectors.detach().transpose(0, 2, 3, 1), self.entries.detach()
        return ((entries * entries).sum(axis=1) - 2 * vectors @ entries.T).argmin(axis=-1)

    def forward(self, indices):
        return self.entries[indices].transpose(0, 3, 1, 2)


# 2. We need an autoencoder with these indices as its codes. We override `encode` and `decode`. The methods transform,
#    inverse_transform and reconstruct then work too. The Trainer only needs `loss_terms`.
#
#    When a vector moves a little, the nearest entry stays the same, and the reconstruction does not change. No gradient
#    would reach the encoder. We therefore pass the entry's gradient to the vector, as if nothing had been replaced.
#    This method is the straight-through estimator. `straight` has the values of `chosen`. The added difference is
#    detached, so the difference is a constant. The derivative therefore only sees `vectors`. This gradient has an
#    error, and the error grows with the distance between entry and vector. Two terms keep this distance small. The
#    first term pulls the entries to the vectors of their places. The second, weaker term pulls the vectors to the
#    entries.
class VectorQuantisedAutoencoder(sa.Autoencoder):
    def __init__(self, encoder, decoder, loss="mse", *, codebook, commitment=COMMITMENT):
        super().__init__(encoder, decoder, loss)
        self.codebook, self.commitment = codebook, commitment

    def encode(self, x):
        return self.codebook.nearest(self.encoder(x))

    def decode(self, indices):
        return self.decoder(self.codebook(indices))

    def loss_terms(self, x, target=None):
        vectors = self.encoder(x)
        chosen = self.codebook(self.codebook.nearest(vectors))
        straight = vectors + (chosen - vectors).detach()
        return {
            "reconstruction": self.distance(self.decoder(straight), x, target),
            "codebook": F.mse_loss(chosen, vectors.detach()),
            "commitment": self.commitment * F.mse_loss(vectors, chosen.detach()),
        }


# 3. An entry that no place chooses gets no gradient and never moves. This entry is dead. We therefore move dead entries
#    to vectors of the encoder. Vectors far from their present entry are chosen more often (drawn as in k-means++:
#    Arthur & Vassilvitskii 2007). All entries start in this way. After an epoch, each unused entry starts again in this
#    way (restarts: Dhariwal et al., "Jukebox", 2020).
class Restarts(sa.Callback):
    def __init__(self, images):
        self.images = images

    def on_fit_begin(self, trainer):
        self.restart(trainer.model, np.ones(ENTRIES, bool))

    def on_epoch_end(self, trainer, row):
        self.restart(trainer.model, shares(trainer.model, self.images) == 0)

    def restart(self, model, unused):
        vectors = model.in_batches(model.encoder, self.images)
        vectors, entries = vectors.transpose(0, 2, 3, 1), model.codebook.entries.numpy().copy()
        far = ((vectors - entries[model.transform(self.images)]) ** 2).sum(axis=-1, dtype=float).ravel()
        vectors = vectors.reshape(-1, ENTRY_SIZE)
        entries[unused] = sa.generator().choice(vectors, unused.sum(), replace=False, p=far / far.sum())
        model.codebook.load_state_dict({"entries": entries})


def shares(model, images):
    """For each entry, the share of all places that chose this entry."""
    indices = model.transform(images)
    return np.bincount(indices.ravel(), minlength=ENTRIES) / indices.size


#    Perplexity is exp(entropy). With equal use, this number of entries would have the same entropy. Perplexity tells
#    little about the error. More than half of all places are black. The perplexity mainly depends on whether one entry
#    means black or three entries mean black.
def train(name, spread=1.0, callbacks=()):
    sa.manual_seed(0)
    encoder = nn.Sequential(conv_encoder(CHANNELS, "stride"), nn.Conv2d(CHANNELS[-1], ENTRY_SIZE, 1))
    decoder = nn.Sequential(nn.Conv2d(ENTRY_SIZE, CHANNELS[-1], 3, padding=1), nn.ReLU(),
                            conv_decoder(CHANNELS, "stride"))  # fmt: skip
    model = VectorQuantisedAutoencoder(encoder, decoder, codebook=Codebook(ENTRIES, ENTRY_SIZE, spread))
    print(f"\ncodebook {name}: {model.count_parameters():,} parameters")
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR), callbacks)
    trainer.fit(train_images, validation=test_images, epochs=EPOCHS[run], batch_size=BATCH_SIZE[run])
    p, error = shares(model, test_images), model.reconstruction_error(test_images).mean()
    perplexity = np.exp(-np.sum(p * np.log(p + (p == 0))))
    print(f"{np.sum(p > 0)} of {ENTRIES} entries in use, perplexity {perplexity:.1f}, test MSE {error:.5f}")
    return model, perplexity, error


#    At first, the vectors of the encoder are small. If the entries come from N(0, 1), a few entries are the nearest to
#    all vectors. Most other entries should stay dead. Small entries are nearer, and should come into use one by one.
#    Restarts should save some epochs. In a long training, the small codebook becomes equally good or better.
train("from N(0, 1), left alone")
train("small, left alone", 1 / ENTRIES)
model, perplexity, error = train("with restarts", callbacks=[Restarts(train_images[:1000])])

# 4. The baseline is PCA with the same number of bits. Each of PCA's numbers is rounded to 8 bits.
fixed = SIDE**2 * np.log2(ENTRIES)
numbers = int(np.ceil(fixed / 8))
mean, directions = pca(train_images)
codes = (test_images.reshape(len(test_images), -1) - mean) @ directions[:numbers].T
low, step = codes.min(axis=0), np.ptp(codes, axis=0) / 255
rounded = low + step * np.rint((codes - low) / step)
by_pca = (mean + rounded @ directions[:numbers]).clip(0, 1).reshape(test_images.shape)
pca_error = np.mean((by_pca - test_images) ** 2)
print(f"\n{fixed:.0f} bits an image: test MSE {error:.5f}; PCA, {numbers} numbers of 8 bits: {pca_error:.5f}")

# 5. A prior over codes, from counts. We count each entry in three contexts. The first context is the place. The second
#    context is the pair of neighbours, to the left and above. The third context is this pair at this place. Fine
#    contexts are rare. Each finer context therefore only corrects the prediction of the coarser context. The correction
#    grows with the number of observations (MacKay & Peto 1995).
WIDTH, PAIRS = SIDE + 1, (ENTRIES + 1) ** 2  # outside the map, the neighbour has an index of its own
PLACES = [row * WIDTH + column for row in range(1, WIDTH) for column in range(1, WIDTH)]
tables = [np.zeros((rows, ENTRIES), np.float32) for rows in (WIDTH**2, PAIRS, WIDTH**2 * PAIRS)]


def in_a_row(codes):
    """The rows of a map in one line, with an edge. The left neighbour is 1 before, the upper one is WIDTH before."""
    return np.pad(codes, ((0, 0), (1, 0), (1, 0)), constant_values=ENTRIES).reshape(len(codes), -1)


def contexts(codes, place):
    """For each table, the row of the context of this place."""
    pair = codes[:, place - 1] * (ENTRIES + 1) + codes[:, place - WIDTH]
    return np.full(len(codes), place), pair, place * PAIRS + pair


def probabilities(codes, place, depth):
    """Probabilities (n, ENTRIES) of the entries at this place, from the first `depth` tables."""
    p = np.full(ENTRIES, 1 / ENTRIES)
    for table, context in list(zip(tables, contexts(codes, place), strict=True))[:depth]:
        seen = table[context]
        p = (seen + STRENGTH * p) / (seen.sum(axis=1, keepdims=True) + STRENGTH)
    return p


def bits(codes, depth):
    """The mean cost of a code, if each entry costs -log2 p bits (Shannon 1948)."""
    p = [probabilities(codes, place, depth)[np.arange(len(codes)), codes[:, place]] for place in PLACES]
    return -np.log2(p).sum(axis=0).mean()


def draw(n, depth):
    """Draw `n` codes, entry by entry. Each entry depends on the entries before."""
    codes = in_a_row(np.zeros((n, SIDE, SIDE), int))
    for place in PLACES:
        p = probabilities(codes, place, depth)
        codes[:, place] = (np.log(p) + sa.generator().gumbel(size=p.shape)).argmax(axis=1)
    return codes.reshape(n, WIDTH, WIDTH)[:, 1:, 1:]


train_codes, test_codes = in_a_row(model.transform(train_images)), model.transform(test_images)
for place in PLACES:
    for table, context in zip(tables, contexts(train_codes, place), strict=True):
        np.add.at(table, (context, train_codes[:, place]), 1)
by_place, by_neighbours = bits(in_a_row(test_codes), 1), bits(in_a_row(test_codes), 3)
print(f"entropy-coded: {by_place:.1f} bits by each place's frequencies, {by_neighbours:.1f} given the neighbours")

# 6. Draw the codes, the entries and new images. Similar entries have similar colours. Red, green and blue are the first
#    three principal components of the entries. Draws by place alone should be loose pieces where digits mostly are.
#    Draws given the neighbours should show connected strokes, and sometimes nearly a digit. A whole digit needs a prior
#    with a larger context. The paper's prior is a network, a PixelCNN.
entries = model.codebook.entries.numpy()
centre, axes = pca(entries)
colours = (entries - centre) @ axes[:3].T
colours = (colours - colours.min(axis=0)) / np.ptp(colours, axis=0)
maps = colours[test_codes[:10]].transpose(0, 3, 1, 2).repeat(4, axis=2).repeat(4, axis=3)
rows = {"original": test_images[:10], "code": maps, f"decoded, {fixed:.0f} bits": model.reconstruct(test_images[:10])}
plotting.image_rows(rows | {f"PCA, {8 * numbers} bits": by_pca[:10]}, args.out / "reconstructions.png")
padded = np.pad(test_images[:, 0], ((0, 0), (4, 4), (4, 4)))
around = np.lib.stride_tricks.sliding_window_view(padded, (12, 12), axis=(1, 2))[:, ::4, ::4]
by_use = sorted(np.unique(test_codes), key=lambda entry: -np.sum(test_codes == entry))
plotting.image_grid([around[test_codes == entry].mean(axis=0) for entry in by_use], args.out / "codebook.png", 16,
                    title="The mean image around the places of each entry, by use")  # fmt: skip
drawn = {"each place by itself": draw(14, 1), "given neighbours": draw(14, 3), "and more of them": draw(14, 3)}
rows = {name: model.inverse_transform(codes) for name, codes in drawn.items()}
plotting.image_rows(rows, args.out / "samples.png", n=14)
print(f"pictures: {args.out}")

verdict("test MSE / PCA MSE at equal bits", MSE_RATIO[run], error / pca_error)
verdict(f"perplexity of {ENTRIES} entries", PERPLEXITY[run], perplexity, at_least=True)
verdict("bits an image, given neighbours", BITS[run], by_neighbours)
finish()
