"""The list of kinds, layers and samplers that this room offers under `autoencoders`: the wider family."""

from scratchae import autoencoders
from scratchae.autoencoders import (
    adversarial,
    conditional,
    importance_weighted,
    labels,
    masked,
    neighbours,
    regularised,
    samplers,
    total_correlation,
    vector_quantised,
    wasserstein,
)
from scratchae.more.offers import offer

offer(autoencoders, conditional.Conditional, conditional.ConditionalAutoencoder, labels.LabelBias)
offer(autoencoders, conditional.ConditionalVariationalAutoencoder)
offer(autoencoders, samplers.fit_sampler, samplers.NormalSampler, samplers.GaussianMixtureSampler)
offer(autoencoders, neighbours.NeighbourSampler, wasserstein.mmd)
for _name, _kind in {
    "adversarial": adversarial.AdversarialAutoencoder,
    "importance-weighted": importance_weighted.ImportanceWeightedAutoencoder,
    "masked": masked.MaskedAutoencoder,
    "regularised": regularised.RegularisedAutoencoder,
    "total-correlation": total_correlation.TotalCorrelationAutoencoder,
    "vector-quantised": vector_quantised.VectorQuantisedAutoencoder,
    "wasserstein": wasserstein.WassersteinAutoencoder,
}.items():
    offer(autoencoders, _kind)
    autoencoders.KINDS[_name] = _kind
