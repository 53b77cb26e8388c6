"""Can 49 whole numbers describe a digit?

The VQ-VAE is an autoencoder with a discrete code (van den Oord, Vinyals & Kavukcuoglu, "Neural discrete representation
learning", 2017). The latent code of an image is a map of 7 x 7 whole numbers. Each number is the index of an entry in
a codebook. The codebook is a table of 64 vectors, and the training changes these vectors too. At each of the 49 places,
the nearest entry replaces the encoder's vector.

       image                 vectors             indices           entries              reconstruction
    x (n, 1, 28, 28) --> v (n, 16, 7, 7) --> i (n, 7, 7) --> e (n, 16, 7, 7) --> x' (n, 1, 28, 28)
               encoder           nearest entry      look up            decoder
                                       codebook (64, 16)

An index out of 64 costs log2(64) = 6 bits. The 49 indices of an image cost 294 bits, or 37 bytes. The baseline is PCA
with 294 bits per image, shared out among PCA's numbers to lower the error (`pca_codec.py`). Whole numbers can also be
counted. The counts make the code shorter, and the counts let us draw new images.

    python tutorials/14_vector_quantised.py                 the embedded sample, two to three minutes
    python tutorials/14_vector_quantised.py --data full     all of MNIST, about ten minutes
"""

import numpy as np
from common import finish, load, pca, settings, verdict
from pca_codec import PCACodec

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
EPOCHS = {"quick": (2, 4), "sample": (4, 20), "full": (1, 7)}  # left alone, and with restarts
MSE_RATIO = {"full": 0.9}  # test MSE / MSE of the best PCA codec at equal bits; the sample is too small for the VQ-VAE
BITS_RATIO = {"quick": 0.9, "sample": 0.6, "full": 0.5}  # bits / bits of PCA at equal MSE, both entropy-coded
PERPLEXITY = {"quick": 14, "sample": 14, "full": 12.5}  # perplexity of the codebook

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)


def mse(images, reconstructions):
    return float(np.mean((reconstructions - images) ** 2))


# 1. The codebook is a module with a single Parameter e of 64 rows. For an encoder's vector v, the nearest entry has
#    the index i = argmin_j |v - e_j|^2. Looking up e[i] has a derivative. Each entry receives the sum of the gradients
#    from all places that chose this entry. The choice itself, `argmin`, has no derivative.
class Codebook(nn.Module):
    def __init__(self, entries, size, spread):
        self.entries = nn.Parameter(np.empty((entries, size), np.float32))
        nn.init.normal_(self.entries, std=spread)

    def nearest(self, vectors):
        """Indices (N, H, W) of the entries nearest to vectors (N, C, H, W). |v|^2 is the same for all."""
        vectors, entries = vectors.detach().transpose(0, 2, 3, 1), self.entries.detach()
        return ((entries * entries).sum(axis=1) - 2 * vectors @ entries.T).argmin(axis=-1)

    def forward(self, indices):
        return self.entries[indices].transpose(0, 3, 1, 2)


# 2. The model overrides `encode` and `decode`. The methods transform, inverse_transform and reconstruct then work with
#    indices too. The Trainer only needs `loss_terms`.
#
#    When a vector moves a little, the nearest entry stays the same, and the reconstruction does not change. No gradient
#    would reach the encoder. The straight-through estimator therefore gives the entry's gradient to the vector, as if
#    nothing had been replaced. With sg for "stop gradient" (`detach` in the code), the decoder gets
#
#        s = v + sg(e_i - v)        forward: s = e_i        backward: ds/dv = 1
#
#    This gradient has an error, and the error grows with the distance between v and e_i. Two terms keep the distance
#    small. The codebook term pulls entries to their vectors. The commitment term pulls vectors to their entries.
#
#        loss = |x' - x|^2 + |sg(v) - e_i|^2 + 0.25 |v - sg(e_i)|^2        (each as a mean)
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


# 3. An entry that no place chooses gets no gradient and never moves. The entry is dead. A callback can restart dead
#    entries at vectors of the encoder. Vectors far from their present entry are chosen more often (as in k-means++:
#    Arthur & Vassilvitskii 2007). All entries start in this way. After each epoch, every unused entry starts again in
#    this way (restarts: Dhariwal et al., "Jukebox", 2020).
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


# 4. The perplexity tells how evenly the entries are in use. With the share p_j of places that chose entry j,
#
#        perplexity = exp(-sum_j p_j log p_j)
#
#    64 entries of equal use have a perplexity of 64. If all places choose one entry, the perplexity is 1.
#
# Predict first: a codebook starts from N(0, 1) and has no restarts. How many of its 64 entries are in use at the end?
# Choose (a) fewer than 10, or (b) about 32, or (c) all 64.
def train(name, epochs, callbacks=()):
    sa.manual_seed(0)
    encoder = nn.Sequential(conv_encoder(CHANNELS, "stride"), nn.Conv2d(CHANNELS[-1], ENTRY_SIZE, 1))
    decoder = nn.Sequential(nn.Conv2d(ENTRY_SIZE, CHANNELS[-1], 3, padding=1), nn.ReLU(),
                            conv_decoder(CHANNELS, "stride"))  # fmt: skip
    model = VectorQuantisedAutoencoder(encoder, decoder, codebook=Codebook(ENTRIES, ENTRY_SIZE, 1.0))
    print(f"\ncodebook {name}: {model.count_parameters():,} parameters, epochs: {epochs}")
    optimizer = optim.Adam(model.parameters(), lr=LR)
    trainer = sa.Trainer(model, optimizer, [*callbacks, sa.Schedule(optim.CosineLR(optimizer, epochs))])
    trainer.fit(digits.train, validation=digits.validation, epochs=epochs, batch_size=BATCH_SIZE[run], progress=False)
    p, error = shares(model, digits.test), model.reconstruction_error(digits.test).mean()
    perplexity = np.exp(-np.sum(p * np.log(p + (p == 0))))
    print(f"{np.sum(p > 0)} of {ENTRIES} entries in use, perplexity {perplexity:.1f}, test MSE {error:.5f}")
    return model, perplexity, error


train("from N(0, 1), left alone", EPOCHS[run][0])
model, perplexity, error = train("with restarts", EPOCHS[run][1], [Restarts(digits.train[:1000])])

# What you should see, and why: answer (a). Without restarts, 2 of 64 entries are in use, after 2 epochs of the quick
# run and after 1 epoch on all of MNIST. At first, the encoder's vectors are small. Only the smallest entries of N(0, 1)
# are near these vectors, and all other entries are dead. With restarts, all 64 entries are in use. The perplexity is 14
# in both runs. Most places are black (62% of the sample's test images), and one or a few entries share these places.

# 5. The baseline is PCA with the same 294 bits. A number with a large variance gets up to 5 bits, and most of the 784
#    numbers get none. A second, weaker line gives 8 bits to each of 37 numbers. Equal widths waste bits on fine steps,
#    while many directions get nothing.
#
# Predict first: on all of MNIST, 37 numbers of 8 bits leave 3.7 times the error of the VQ-VAE. How much of this
# advantage remains against well-shared bits? Choose (a) all, or (b) a part, or (c) nothing.
fixed = int(SIDE**2 * np.log2(ENTRIES))
codec = PCACodec(digits.train)
equal, shared = np.full(fixed // 8 + 1, 8), codec.share_out(fixed)
contrast = codec.best_contrast(digits.validation, shared)
weak = mse(digits.test, codec.decode(codec.encode(digits.test, equal), equal))
plain = mse(digits.test, codec.decode(codec.encode(digits.test, shared), shared))
by_pca = codec.decode(codec.encode(digits.test, shared), shared, contrast)
pca_error = mse(digits.test, by_pca)
print(f"\n{fixed} bits an image, test MSE of the VQ-VAE {error:.5f}")
print(f"PCA, {len(equal)} numbers of 8 bits: {weak:.5f}, ratio {error / weak:.3f}")
print(f"PCA, {len(shared)} numbers of {shared.min()} to {shared.max()} bits: {plain:.5f}, ratio {error / plain:.3f}")
print(f"the same with contrast {contrast:.2f}: {pca_error:.5f}, ratio {error / pca_error:.3f}")

# What you should see, and why: answer (b) on all of MNIST. There, the MSE of the VQ-VAE is 0.0037, and its ratios to
# the three lines are 0.27, 0.71 and 0.89. At 294 bits, the VQ-VAE wins, but most of the first advantage came from a
# weak baseline. PCA wins on the sample (ratio 1.04) and in the quick run (1.69). The sample has only 4,500 images for
# training, and the quick run has only four epochs. Tutorial 11 has a lower error with fewer bits, 0.0030 with 256 bits
# on all of MNIST.

# 6. So far each index costs 6 bits, although some indices are more frequent than others. An entropy code gives an index
#    of probability p a length of about -log2 p bits (Shannon 1948). We need a prior, which predicts the next index. We
#    count the training codes in three contexts. The first context is the place. The second context is the pair of
#    neighbours, to the left and above. The third context is this pair at this place. Fine contexts are rare, so each
#    finer context only corrects the prediction of the coarser context. With n observations in a context, n_i of them
#    of index i, and the coarser prediction p_i, the corrected prediction is
#
#        (n_i + 20 p_i) / (n + 20)
#
# Predict first: how many of the 294 bits remain when the prior knows the two neighbours? Choose (a) about 270, or (b)
# about 200, or (c) about 110.
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


train_codes, test_codes = in_a_row(model.transform(digits.train)), model.transform(digits.test)
for place in PLACES:
    for table, context in zip(tables, contexts(train_codes, place), strict=True):
        np.add.at(table, (context, train_codes[:, place]), 1)
by_place, by_neighbours = bits(in_a_row(test_codes), 1), bits(in_a_row(test_codes), 3)
print(f"\nentropy-coded: {by_place:.1f} bits by each place's frequencies, {by_neighbours:.1f} given the neighbours")
steps = np.geomspace(0.25, 1.5, 9)
coded = [codec.entropy_coded(digits.train, digits.test, step, contrast) for step in steps]
needed = np.interp(error, [mse(digits.test, images) for _, images in coded], [size for size, _ in coded])
print(f"PCA, entropy-coded too, needs {needed:.0f} bits for the same test MSE")

# What you should see, and why: answer (c). On all of MNIST, 108 bits remain, and PCA needs 310 bits for the same MSE.
# In the quick run, 125 bits remain, and PCA needs 171 bits. Black places are easy to predict from their neighbours.
# Each of PCA's numbers has a prior too, but without neighbours, because PCA's numbers are uncorrelated. The receiver
# needs the counts of the prior, as well as the decoder.

# 7. The picture shows ten codes. Similar entries have similar colours, because red, green and blue are the first three
#    principal components of the entries. A second picture shows the mean image around the places of each entry. A third
#    picture shows new images. We draw indices one by one from the prior, and the decoder turns them into images.
entries = model.codebook.entries.numpy()
centre, axes = pca(entries)
colours = (entries - centre) @ axes[:3].T
colours = (colours - colours.min(axis=0)) / np.ptp(colours, axis=0)
maps = colours[test_codes[:10]].transpose(0, 3, 1, 2).repeat(4, axis=2).repeat(4, axis=3)
rows = {"original": digits.test[:10], "code": maps, f"decoded, {fixed:.0f} bits": model.reconstruct(digits.test[:10])}
plotting.image_rows(rows | {f"PCA, {fixed} bits": by_pca[:10]}, args.out / "answer.png")
padded = np.pad(digits.test[:, 0], ((0, 0), (4, 4), (4, 4)))
around = np.lib.stride_tricks.sliding_window_view(padded, (12, 12), axis=(1, 2))[:, ::4, ::4]
by_use = sorted(np.unique(test_codes), key=lambda entry: -np.sum(test_codes == entry))
plotting.image_grid([around[test_codes == entry].mean(axis=0) for entry in by_use], args.out / "codebook.png", 16,
                    title="The mean image around the places of each entry, by use")  # fmt: skip
drawn = {"each place by itself": draw(14, 1), "given neighbours": draw(14, 3), "and more of them": draw(14, 3)}
rows = {name: model.inverse_transform(codes) for name, codes in drawn.items()}
plotting.image_rows(rows, args.out / "samples.png", n=14)
print(f"pictures: {args.out}")

# What you should see, and why: in the code's row, black places share a few colours, and a stroke changes its colour
# with its direction. Draws by place alone are loose pieces where digits mostly are. On all of MNIST, draws given the
# neighbours have longer strokes, and a few look like a digit. A whole digit needs a prior with a larger context. The
# prior of the paper is a network, a PixelCNN.
if run in MSE_RATIO:
    verdict(f"test MSE / MSE of the best PCA codec, both {fixed} bits", MSE_RATIO[run], error / pca_error)
verdict("bits / PCA's bits for the same test MSE, both entropy-coded", BITS_RATIO[run], by_neighbours / needed)
verdict(f"perplexity of {ENTRIES} entries", PERPLEXITY[run], perplexity, at_least=True)
finish()

# Exercises. The solutions are in tutorials/solutions/14_vector_quantised.py.
#
# Change a constant: double ENTRIES to 128. How many bits does an image cost then? Predict the error first.
#
# Explain a number: all 64 entries are in use, but the perplexity is below 20. How can both be true?
#
# Write code: a codebook needs no network. Cut the images into patches of 4 x 4 pixels, and find 64 entries with
# k-means. Compare the error with PCA's error at 294 bits.
