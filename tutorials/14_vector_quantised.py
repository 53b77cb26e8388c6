"""A discrete code, and a model that the package does not have: the VQ-VAE, from its layers, a codebook and a loss.

The code of an image is a map of 7 x 7 whole numbers. Each names an entry of a codebook, a table of vectors that learns
along with encoder and decoder: at every place, the encoder's vector is replaced by the nearest entry (van den Oord,
Vinyals & Kavukcuoglu, "Neural discrete representation learning", 2017). Whole numbers can be counted. Which one comes
next is a matter of frequencies, and with these, codes become shorter still, and new images can be drawn.

    python tutorials/14_vector_quantised.py                 the embedded sample, two minutes
    python tutorials/14_vector_quantised.py --data full     all 60,000 images, about eight minutes
"""

import numpy as np
from common import finish, load, pca, settings, verdict

import scratchae as sa
from scratchae import data, nn, optim, plotting
from scratchae import functional as F
from scratchae.autoencoders import conv_decoder, conv_encoder

ENTRIES, ENTRY_SIZE = 64, 16  # 6 bits a place, 294 an image
CHANNELS, SIDE = (1, 32, 64), 7  # two strides of 2: 28, 14, 7
COMMITMENT = 0.25
STRENGTH = 20  # sightings that weigh as much as what a rougher context says
BATCH_SIZE = {"quick": 32, "sample": 32, "full": 64}
LR = 2e-3
EPOCHS = {"quick": 3, "sample": 12, "full": 4}
MSE_RATIO = {"quick": 0.5, "sample": 0.35, "full": 0.32}  # test MSE / PCA's at equal bits
PERPLEXITY = {"quick": 14, "sample": 14, "full": 12.5}  # perplexity of the codebook
BITS = {"quick": 122, "sample": 131, "full": 109}  # an image, given neighbours

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)


# 1. The codebook is a module with a single Parameter. To look entries up is to index it, and indexing has a derivative:
#    an entry receives what arrives at all the places that chose it. The choice itself, `argmin`, has none.
class Codebook(nn.Module):
    def __init__(self, entries, size, spread):
        self.entries = nn.Parameter(np.empty((entries, size), np.float32))
        nn.init.normal_(self.entries, std=spread)

    def nearest(self, vectors):
        """Numbers (N, H, W) of the entries nearest to vectors (N, C, H, W); |v|^2 is the same for all and left out."""
        vectors, entries = vectors.detach().transpose(0, 2, 3, 1), self.entries.detach()
        return ((entries * entries).sum(axis=1) - 2 * vectors @ entries.T).argmin(axis=-1)

    def forward(self, indices):
        return self.entries[indices].transpose(0, 3, 1, 2)


# 2. An autoencoder whose codes are these numbers. `encode` and `decode` say so, and what is made of them comes along:
#    transform, inverse_transform, reconstruct. Trainer asks for nothing but `loss_terms`.
#
#    The reconstruction does not change when a vector moves, until it jumps: to another entry. No gradient would reach
#    the encoder. So the entry's gradient is handed to the vector, as if nothing had been replaced. This is the
#    straight-through estimator: `straight` has the values of `chosen`, but the difference that was added is detached,
#    a constant, and what remains to differentiate is `vectors`. It is as wrong as the two are far apart, and two terms
#    keep them close: the first draws entries to the vectors that chose them, the second, weaker, vectors to entries.
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


# 3. An entry that nobody chooses gets no gradient and stays where nobody is, for ever. So entries are put where they
#    are needed: at vectors that the encoder makes, and with preference those that are far from the entry they have now
#    (drawn as in k-means++: Arthur & Vassilvitskii 2007). That is where all of them start, and where those go that went
#    unused in an epoch (restarts: Dhariwal et al., "Jukebox", 2020).
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
    """The fraction of all places that chose each entry."""
    indices = model.transform(images)
    return np.bincount(indices.ravel(), minlength=ENTRIES) / indices.size


#    Perplexity, exp(entropy), is the number of entries that would say as much if all were used alike. It says little of
#    the error: more than half of all places are black, and it matters most whether one entry means black or three do.
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


#    At first the encoder's vectors are small. Of entries drawn from N(0, 1), a few are the nearest to all of them, and
#    most of the rest stays dead. Small entries are nearer, and come into use one by one: restarts save them epochs, and
#    in a long training that codebook ends up as good, or better.
train("from N(0, 1), left alone")
train("small, left alone", 1 / ENTRIES)
model, perplexity, error = train("with restarts", callbacks=[Restarts(train_images[:1000])])

# 4. What would PCA do with as many bits? Its numbers are rounded to 8 bits each.
fixed = SIDE**2 * np.log2(ENTRIES)
numbers = int(np.ceil(fixed / 8))
mean, directions = pca(train_images)
codes = (test_images.reshape(len(test_images), -1) - mean) @ directions[:numbers].T
low, step = codes.min(axis=0), np.ptp(codes, axis=0) / 255
rounded = low + step * np.rint((codes - low) / step)
by_pca = (mean + rounded @ directions[:numbers]).clip(0, 1).reshape(test_images.shape)
pca_error = np.mean((by_pca - test_images) ** 2)
print(f"\n{fixed:.0f} bits an image: test MSE {error:.5f}; PCA, {numbers} numbers of 8 bits: {pca_error:.5f}")

# 5. A prior over codes, by counting which entry was seen where: at each place; next to each pair of neighbours, to the
#    left and above; and next to that pair at that place. The finer the context, the rarer it has been seen, so each
#    only corrects what the rougher one says, by as much as it has seen (MacKay & Peto 1995).
WIDTH, PAIRS = SIDE + 1, (ENTRIES + 1) ** 2  # beyond the edge, the neighbour has a number of its own
PLACES = [row * WIDTH + column for row in range(1, WIDTH) for column in range(1, WIDTH)]
tables = [np.zeros((rows, ENTRIES), np.float32) for rows in (WIDTH**2, PAIRS, WIDTH**2 * PAIRS)]


def in_a_row(codes):
    """The rows one after the other, with an edge: to the left is 1 before, above is WIDTH before."""
    return np.pad(codes, ((0, 0), (1, 0), (1, 0)), constant_values=ENTRIES).reshape(len(codes), -1)


def contexts(codes, place):
    """For each table, the row that holds here."""
    pair = codes[:, place - 1] * (ENTRIES + 1) + codes[:, place - WIDTH]
    return np.full(len(codes), place), pair, place * PAIRS + pair


def probabilities(codes, place, depth):
    """Of each entry at this place (n, ENTRIES), by the first `depth` tables."""
    p = np.full(ENTRIES, 1 / ENTRIES)
    for table, context in list(zip(tables, contexts(codes, place), strict=True))[:depth]:
        seen = table[context]
        p = (seen + STRENGTH * p) / (seen.sum(axis=1, keepdims=True) + STRENGTH)
    return p


def bits(codes, depth):
    """What a code costs on average if each entry takes -log2 p bits (Shannon 1948)."""
    p = [probabilities(codes, place, depth)[np.arange(len(codes)), codes[:, place]] for place in PLACES]
    return -np.log2(p).sum(axis=0).mean()


def draw(n, depth):
    """`n` codes, entry by entry, each given those before it."""
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

# 6. Look at it. Similar entries have similar colours: their first three principal components are red, green and blue.
#    Drawn place by place, images are rubble where digits mostly are; given neighbours, they are strokes that go on, and
#    now and then nearly a digit. For whole ones the prior must see more of what was drawn: in the paper it is a
#    network, a PixelCNN.
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
