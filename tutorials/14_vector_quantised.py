"""Can 49 whole numbers describe a digit?

The VQ-VAE is an autoencoder with a discrete code (van den Oord, Vinyals & Kavukcuoglu, "Neural discrete representation
learning", 2017). The latent code of an image is a map of 7 x 7 whole numbers. Each number is the index of an entry in
a codebook. The codebook is a table of 64 vectors, and the training changes these vectors too. At each of the 49 places,
the nearest entry replaces the encoder's vector.

       image                 vectors             indices           entries              reconstruction
    x (n, 1, 28, 28) --> v (n, 16, 7, 7) --> k (n, 7, 7) --> e (n, 16, 7, 7) --> x' (n, 1, 28, 28)
               encoder           nearest entry      look up            decoder
                                       codebook (64, 16)

An index out of 64 costs log2(64) = 6 bits. The 49 indices of an image cost 294 bits, or 37 bytes. The baseline is PCA
with 294 bits per image, shared out among PCA's numbers to lower the error (`pca_codec.py`). Whole numbers can also be
counted. The counts make the code shorter, and the counts let us draw new images.

    python tutorials/14_vector_quantised.py                 the embedded sample, under a minute
    python tutorials/14_vector_quantised.py --data full     all of MNIST, about seven minutes
"""

import numpy as np
from common import finish, load, mse, pca, settings, verdict
from neighbour_counts import NeighbourCounts
from pca_codec import PCACodec

import scratchae as sa
from scratchae import autoencoders, data, measures, nn, optim, plotting
from scratchae import functional as F

ENTRIES, ENTRY_SIZE = 64, 16  # 6 bits per place, 294 bits per image
CHANNELS, SIDE = (1, 32, 64), 7  # two strides of 2 give sides of 28, 14, 7
BATCH_SIZE = {"quick": 32, "sample": 32, "full": 64}
LR = 2e-3
EPOCHS = {"quick": (1, 4), "sample": (1, 15), "full": (1, 5)}  # two short runs, and the main run
MSE_RATIO = {"quick": 0.5, "sample": 0.35, "full": 0.296}  # test MSE / MSE of PCA with 37 numbers of 8 bits
BEST_RATIO = {"full": 0.9}  # test MSE / MSE of the best PCA codec at equal bits; the sample is too small for the VQ-VAE
BITS_RATIO = {"quick": 0.9, "sample": 0.6, "full": 0.5}  # bits / bits of PCA at equal MSE, both entropy-coded
PERPLEXITY = {"quick": 16, "sample": 16, "full": 16}  # perplexity of the codebook

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)


# 1. For an encoder's vector v, the index is k = argmin_j |v - e_j|^2. When v moves a little, k stays the same, and the
#    reconstruction does not change. No gradient would reach the encoder. The straight-through estimator therefore gives
#    the entry's gradient to the vector, as if nothing had been replaced. With sg for "stop gradient" (`detach` in the
#    code), the decoder gets
#
#        s = v + sg(e_k - v)        forward: s = e_k        backward: ds/dv = 1
#
# Predict first: we compute two losses, with s and with e_k as the decoder's input. Is the gradient of v under the first
# loss equal to the gradient of e_k under the second loss? Choose (a) yes, or (b) only if v is near e_k, or (c) no.
def new_model(**options):
    sa.manual_seed(0)
    encoder = nn.Sequential(autoencoders.conv_encoder(CHANNELS, "stride"), nn.Conv2d(CHANNELS[-1], ENTRY_SIZE, 1))
    decoder = nn.Sequential(nn.Conv2d(ENTRY_SIZE, CHANNELS[-1], 3, padding=1), nn.ReLU(),
                            autoencoders.conv_decoder(CHANNELS, "stride"))  # fmt: skip
    sizes = {"entries": ENTRIES, "entry_size": ENTRY_SIZE}
    return autoencoders.VectorQuantisedAutoencoder(encoder, decoder, "mse", **sizes, **options)


model, images = new_model(), digits.train[:8]
print(f"{model.count_parameters():,} parameters, and a codebook of {ENTRIES} x {ENTRY_SIZE} numbers")
indices = model.transform(images)
v = sa.Tensor(model.in_batches(model.encoder, images), requires_grad=True)
e = sa.Tensor(model.codebook.entries[indices].transpose(0, 3, 1, 2), requires_grad=True)
s = v + (e - v).detach()
for decoder_input in (s, e):
    F.mse_loss(model.decoder(decoder_input), sa.Tensor(images)).backward()
print(f"values: |v - e_k| up to {abs(v.data - e.data).max():.1e}, |s - e_k| up to {abs(s.data - e.data).max():.1e}")
print(f"gradients: |e_k| up to {abs(e.grad).max():.1e}, |v - e_k| up to {abs(v.grad - e.grad).max():.1e}")

# What you should see, and why: answer (a). The values of s and e_k are equal up to rounding. The two gradients are also
# equal up to rounding, although v and e_k are different vectors. The vector v gets the whole gradient of its entry.


# 2. The straight-through gradient has an error, and the error grows with the distance between v and e_k. The
#    commitment term pulls vectors to their entries. The package's class has the loss
#
#        |x' - x|^2 + 0.25 |v - sg(e_k)|^2        (each as a mean)
#
#    No gradient moves the entries. Each entry is a moving average of the vectors that chose this entry. For entry j,
#    let c_j be the number of these vectors in a batch, and let t_j be their sum. After each batch,
#
#        n_j = 0.95 n_j + 0.05 c_j        s_j = 0.95 s_j + 0.05 t_j        e_j = s_j / n_j
#
#    An entry that no vector chooses does not move. The entry is dead, and n_j shrinks to 0. The class can revive dead
#    entries. If n_j falls below `revive` (0.1 by default), entry j becomes a copy of a frequent entry, a little moved.
#    The two entries then share the vectors of the frequent entry.
#
#    The perplexity tells how evenly the entries are in use. With the share p_j of places that chose entry j,
#
#        perplexity = exp(-sum_j p_j log p_j)
#
#    64 entries of equal use have a perplexity of 64. If all places choose one entry, the perplexity is 1.
#
# Predict first: `revive=0` never revives. How many of the 64 entries are in use after one epoch? Choose (a) fewer than
# 20, or (b) about 40, or (c) all 64.
def train(epochs, **options):
    model = new_model(**options)
    optimizer = optim.Adam(model.parameters(), lr=LR)
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, epochs))])
    trainer.fit(digits.train, validation=digits.validation, epochs=epochs, batch_size=BATCH_SIZE[run], progress=False)
    usage, error = model.usage(digits.test), model.reconstruction_error(digits.test).mean()
    p = usage[usage > 0] / usage.sum()
    perplexity = np.exp(-np.sum(p * np.log(p)))
    print(f"revive {model.codebook.revive:g}, epochs {epochs}: {len(p)} of {ENTRIES} entries in use, one of them at "
          f"{p.max():.0%} of the places, perplexity {perplexity:.1f}, test MSE {error:.5f}")  # fmt: skip
    return model, perplexity, error


train(EPOCHS[run][0], revive=0.0)
train(EPOCHS[run][0])
model, perplexity, error = train(EPOCHS[run][1])

# What you should see, and why: answer (a) in the quick run. Without revival, 7 of 64 entries are in use after one
# epoch, and the perplexity is 4.4. At first, the encoder's vectors lie close together. Only the few entries nearest to
# these vectors move, and the other entries stay behind. With revival, 53 entries are in use after one epoch, and the
# perplexity is 19. One epoch on all of MNIST has 860 steps, and the vectors spread to more entries. Without revival, 54
# entries are then in use, and the perplexity is 11.6. With revival, the perplexity is 22.2. At the end of the main run,
# all 64 entries are in use, in all runs. The perplexity is 24 in the quick run, and 21 on all of MNIST. The perplexity
# stays far below 64, because a few entries serve most black places. Of all places of the sample's test images, 62% are
# black.

# 3. The baseline is PCA with the same 294 bits. A number with a large variance gets up to 5 bits, and most of the 784
#    numbers get none. A second, weaker line gives 8 bits to each of 37 numbers. Equal widths waste bits on fine steps,
#    while many directions get nothing.
#
# Predict first: on all of MNIST, 37 numbers of 8 bits leave 3.6 times the error of the VQ-VAE. How much of this
# advantage remains against well-shared bits? Choose (a) all, or (b) a part, or (c) nothing.
fixed = int(SIDE**2 * np.log2(ENTRIES))
codec = PCACodec(digits.train)
equal, shared = np.full(fixed // 8 + 1, 8), codec.share_out(fixed)
contrast = codec.best_contrast(digits.validation, shared)
weak = mse(digits.test, codec.decode(codec.encode(digits.test, equal), equal))
by_pca = codec.decode(codec.encode(digits.test, shared), shared, contrast)
pca_error = mse(digits.test, by_pca)
print(f"\n{fixed} bits an image, test MSE of the VQ-VAE {error:.5f}")
print(f"PCA, {len(equal)} numbers of 8 bits: {weak:.5f}, ratio {error / weak:.3f}")
print(f"PCA, {len(shared)} numbers of {shared.min()} to {shared.max()} bits: {pca_error:.5f}, "
      f"ratio {error / pca_error:.3f} (contrast {contrast:.2f})")  # fmt: skip

# What you should see, and why: answer (b). On all of MNIST, the MSE of the VQ-VAE is 0.0037. The ratios to the two
# lines of PCA are 0.27 and 0.89. At 294 bits, the VQ-VAE wins, but most of the first advantage came from a weak
# baseline. The best PCA codec wins in the quick run (ratio 1.48), and on the sample (1.05). Both runs have only 4,500
# images for training. Tutorial 11 has a lower error with fewer bits, 0.0030 with 256 bits on all of MNIST.

# 4. So far each index costs 6 bits, although some indices are more frequent than others. An entropy code gives an index
#    of probability p a length of about -log2 p bits (Shannon 1948). We need a prior, which predicts the next index. We
#    count the training codes in three contexts (`neighbour_counts.py`). The first context is the place. The second
#    context is the pair of neighbours, to the left and above. The third context is this pair at this place. Fine
#    contexts are rare, so each finer context only corrects the prediction of the coarser context. Let a context have n
#    observations, n_i of them of index i. With the coarser prediction p_i, the corrected prediction is
#
#        (n_i + 20 p_i) / (n + 20)
#
# Predict first: how many of the 294 bits remain when the prior knows the two neighbours? Choose (a) about 270, or (b)
# about 200, or (c) about 110.
train_codes, test_codes = model.transform(digits.train), model.transform(digits.test)
prior = NeighbourCounts(train_codes, ENTRIES)
by_place, by_neighbours = prior.bits(test_codes, depth=1), prior.bits(test_codes, depth=3)
print(f"\nentropy-coded: {by_place:.1f} bits by each place's frequencies, {by_neighbours:.1f} given the neighbours")
steps = np.geomspace(0.25, 1.5, 9)
coded = [codec.entropy_coded(digits.train, digits.test, step, contrast) for step in steps]
needed = np.interp(error, [mse(digits.test, images) for _, images in coded], [size for size, _ in coded])
print(f"PCA, entropy-coded too, needs {needed:.0f} bits for the same test MSE")

# What you should see, and why: answer (c). On all of MNIST, 115 bits remain, and PCA needs 309 bits for the same MSE.
# In the quick run, 126 bits remain, and PCA needs 197 bits. Black places are easy to predict from their neighbours.
# Each of PCA's numbers has a prior too, but without neighbours, because PCA's numbers are uncorrelated. The receiver
# needs the counts of the prior, as well as the decoder.

# 5. A prior also draws new codes, index by index, and the decoder turns the codes into images. We compare three priors.
#    Two priors are the counts of step 4: by place alone, and with two neighbours. The third prior is the package's
#    `NeighbourSampler`. Its context has the place and four neighbours, to the left, above, and above to both sides. A
#    table of all these contexts would be nearly empty. So k-means puts similar contexts into 512 groups. The sampler
#    counts the indices in each group.
#
#    The Frechet distance compares two sets of images by their features in a classifier (`scratchae/measures.py`). A low
#    distance means similar sets.
#
# Predict first: which prior draws the images with the lowest distance to the test images? Choose (a) the places alone,
# or (b) two neighbours, or (c) four neighbours in groups.
sampler = autoencoders.NeighbourSampler(model.codebook.entries).fit(train_codes[:10_000])
n = len(digits.test)
drawn = {"places alone": prior.sample(n, depth=1), "two neighbours": prior.sample(n, depth=3),
         "NeighbourSampler": sampler.sample(n)}  # fmt: skip
drawn = {name: model.inverse_transform(codes) for name, codes in drawn.items()}
real = measures.features(digits.test)
others = {"training images": digits.train[:n], "reconstructions": model.reconstruct(digits.test)}
print(f"\nFrechet distance to the {n:,} test images")
for name, images in (others | drawn).items():
    print(f"{name:16} {measures.frechet_distance(real, measures.features(images)):7.1f}")
plotting.image_rows(drawn, args.out / "samples.png", n=14)

# What you should see, and why: answer (b) on all of MNIST, and answer (c) in the quick run. On all of MNIST, the
# distances are 380, 252 and 269. The counts of two neighbours come from 55,000 codes, and the groups from 10,000 codes.
# In the quick run, both priors have 4,500 codes, and most pairs at a place are rare. The distances are 393, 361, 310.
# Draws by place alone are loose pieces. Draws given neighbours have longer strokes, and a few look like a digit.
# On all of MNIST, the reconstructions of the test images have a distance of 2.0. The decoder can draw digits, but all
# three priors are too weak. The prior of the paper is a network with a larger context, a PixelCNN.

# 6. The picture shows ten codes. Similar entries have similar colours, because red, green and blue are the first three
#    principal components of the entries.
entries = model.codebook.entries
centre, axes = pca(entries)
colours = (entries - centre) @ axes[:3].T
colours = (colours - colours.min(axis=0)) / np.ptp(colours, axis=0)
maps = colours[test_codes[:10]].transpose(0, 3, 1, 2).repeat(4, axis=2).repeat(4, axis=3)
rows = {"original": digits.test[:10], "code": maps, f"decoded, {fixed} bits": model.reconstruct(digits.test[:10])}
plotting.image_rows(rows | {f"PCA, {fixed} bits": by_pca[:10]}, args.out / "answer.png")
print(f"pictures: {args.out}")

# What you should see, and why: in the code's row, black places share a few colours. A stroke changes its colour with
# its direction. On all of MNIST, PCA leaves faint spots around the digits, and the VQ-VAE leaves none.
verdict(f"test MSE / MSE of PCA with {len(equal)} numbers of 8 bits", MSE_RATIO[run], error / weak)
if run in BEST_RATIO:
    verdict(f"test MSE / MSE of the best PCA codec, both {fixed} bits", BEST_RATIO[run], error / pca_error)
verdict("bits / PCA's bits for the same test MSE, both entropy-coded", BITS_RATIO[run], by_neighbours / needed)
verdict(f"perplexity of {ENTRIES} entries", PERPLEXITY[run], perplexity, at_least=True)
finish()

# Exercises. The solutions are in tutorials/solutions/14_vector_quantised.py.
#
# Change a constant: double ENTRIES to 128. How many bits does an image cost then? Predict the error first.
#
# Explain a number: all 64 entries are in use, but the perplexity is below 32. How can both be true?
#
# Write code: a codebook needs no network. Cut the images into patches of 4 x 4 pixels, and find 64 entries with
# k-means. Compare the error with PCA's error at 294 bits.
