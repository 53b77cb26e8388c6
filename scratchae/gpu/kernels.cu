// One kernel for each formula that would need several launches with NumPy's functions. The formulas are activations and
// losses with their derivatives, the optimisers' updates, random numbers, and the record of replayed steps.
// T is float or double. One thread computes one element. `step_x` is 1, or 0 if x is one number for all elements.

#define ELEMENT int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return;
#define ONCE if (blockIdx.x * blockDim.x + threadIdx.x > 0) return;

// --- activations -------------------------------------------------------------------------------------------------

extern "C" __global__ void sigmoid(int n, T* out, const T* x, int step_x) {
    ELEMENT
    out[i] = T(1) / (T(1) + exp(-x[i * step_x]));  // exp(-x) = inf gives the right result, 0
}

extern "C" __global__ void sigmoid_slope(int n, T* out, const T* g, int step_g, const T* y, int step_y) {
    ELEMENT
    T p = y[i * step_y];
    out[i] = g[i * step_g] * (p * (T(1) - p));
}

extern "C" __global__ void tanh_slope(int n, T* out, const T* g, int step_g, const T* y, int step_y) {
    ELEMENT
    T t = y[i * step_y];
    out[i] = g[i * step_g] * (T(1) - t * t);
}

// g where y is positive: the slope of ReLU.
extern "C" __global__ void where_positive(int n, T* out, const T* g, int step_g, const T* y, int step_y) {
    ELEMENT
    out[i] = y[i * step_y] > T(0) ? g[i * step_g] : T(0);
}

__device__ T log_1_plus_exp(T x) { return (x > T(0) ? x : x != x ? x : T(0)) + log1p(exp(-fabs(x))); }

extern "C" __global__ void softplus(int n, T* out, const T* x, int step_x) {
    ELEMENT
    out[i] = log_1_plus_exp(x[i * step_x]);
}

// --- losses: targets outside [0, 1] give NaN, since a kernel cannot raise -------------------------------------------

__device__ T checked(T t) { return t >= T(0) && t <= T(1) ? t : T(0) / (t - t); }

__device__ T clamped_log(T x) {  // log(x), held at -100; NaN passes on
    T l = log(x);
    return l < T(-100) ? T(-100) : l;
}

// -(t log x + (1 - t) log(1 - x))
extern "C" __global__ void bernoulli_nll(int n, T* out, const T* x, int step_x, const T* t, int step_t) {
    ELEMENT
    T p = x[i * step_x], target = checked(t[i * step_t]), l = log1p(-p);
    T log_q = l < T(-100) ? T(-100) : l;
    out[i] = target * (log_q - clamped_log(p)) - log_q;
}

extern "C" __global__ void bernoulli_slope(
    int n, T* out, const T* g, int step_g, const T* x, int step_x, const T* t, int step_t
) {
    ELEMENT
    T p = x[i * step_x], width = p * (T(1) - p);
    out[i] = g[i * step_g] * (p - t[i * step_t]) / (width < T(1e-12) ? T(1e-12) : width);
}

// bernoulli_nll of sigmoid(x): softplus(x) - t x
extern "C" __global__ void bernoulli_nll_of_logits(int n, T* out, const T* x, int step_x, const T* t, int step_t) {
    ELEMENT
    T logit = x[i * step_x];
    out[i] = log_1_plus_exp(logit) - checked(t[i * step_t]) * logit;
}

extern "C" __global__ void logits_slope(
    int n, T* out, const T* g, int step_g, const T* x, int step_x, const T* t, int step_t
) {
    ELEMENT
    out[i] = g[i * step_g] * (T(1) / (T(1) + exp(-x[i * step_x])) - t[i * step_t]);
}

// --- optimisers -----------------------------------------------------------------------------------------------------
// One launch updates the flat buffer of all parameters. `numbers` on the GPU holds 0 the learning rate, 1 the steps
// taken, 2 and 3 the results of `adam_factors`. So a recorded step goes on counting. While `halted` is not 0, no weight
// moves.

extern "C" __global__ void count_step(int n, double* numbers, const double* halted) {
    ONCE
    if (halted[0] == 0) numbers[1] += 1;
}

extern "C" __global__ void adam_factors(
    int n, double* numbers, double beta1, double beta2, double eps, const double* halted
) {
    ONCE
    if (halted[0] != 0) return;
    double step = numbers[1] += 1, root = sqrt((1 - pow(beta2, step)) / (1 - beta2));
    numbers[2] = numbers[0] * root * (1 - beta1) / (1 - pow(beta1, step));
    numbers[3] = eps * root;
}

extern "C" __global__ void adam(
    int n, T* p, const T* g, T* sum, T* sum_sq, T* largest, const double* numbers, const double* halted,
    T beta1, T beta2, T weight_decay, int decoupled, int amsgrad
) {
    ELEMENT
    if (halted[0] != 0) return;
    T x = p[i], slope = g[i];
    if (decoupled) x *= T(1 - numbers[0] * double(weight_decay));
    else if (weight_decay != T(0)) slope = x * weight_decay + slope;
    T m = sum[i] * beta1 + slope, v = sum_sq[i] * beta2 + slope * slope;
    sum[i] = m;
    sum_sq[i] = v;
    if (amsgrad) largest[i] = v = v > largest[i] || v != v ? v : largest[i];
    p[i] = x - m / (sqrt(v) + T(numbers[3])) * T(numbers[2]);
}

extern "C" __global__ void sgd(
    int n, T* p, const T* g, T* velocity, const double* numbers, const double* halted,
    T momentum, T dampening, T weight_decay, int nesterov
) {
    ELEMENT
    if (halted[0] != 0) return;
    T slope = g[i];
    if (weight_decay != T(0)) slope = p[i] * weight_decay + slope;
    if (momentum != T(0)) {
        T v = numbers[1] == 1 ? slope : velocity[i] * momentum + slope * (T(1) - dampening);
        velocity[i] = v;
        slope = nesterov ? slope + v * momentum : v;
    }
    p[i] -= slope * T(numbers[0]);
}

extern "C" __global__ void rmsprop(
    int n, T* p, const T* g, T* square, T* velocity, T* mean, const double* numbers, const double* halted,
    T alpha, T eps, T weight_decay, T momentum, int centered
) {
    ELEMENT
    if (halted[0] != 0) return;
    T slope = g[i];
    if (weight_decay != T(0)) slope = p[i] * weight_decay + slope;
    T v = square[i] * alpha + slope * slope * (T(1) - alpha);
    square[i] = v;
    if (centered) {
        T m = mean[i] * alpha + slope * (T(1) - alpha);
        mean[i] = m;
        v = v - m * m < T(0) ? T(0) : v - m * m;  // rounding can make a variance negative
    }
    T move = slope / (sqrt(v) + eps);
    if (momentum != T(0)) velocity[i] = move = velocity[i] * momentum + move;
    p[i] -= move * T(numbers[0]);
}

// --- random numbers: Philox 4x32-10 (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) ----------
// Block number `counter` + i gives element i, so a number depends on seed and position alone. The counter lies on the
// GPU. A recorded step adds to the counter, and so draws new numbers at each replay.

typedef unsigned int Word;
typedef unsigned long long Long;

__device__ void philox(Long seed, Long block, Word* x) {
    Word key0 = Word(seed), key1 = Word(seed >> 32);
    x[0] = Word(block), x[1] = Word(block >> 32), x[2] = 0, x[3] = 0;
    for (int round = 0; round < 10; round++) {
        Long a = Long(0xD2511F53u) * x[0], b = Long(0xCD9E8D57u) * x[2];
        Word x1 = x[1], x3 = x[3];
        x[0] = Word(b >> 32) ^ x1 ^ key0, x[1] = Word(b);
        x[2] = Word(a >> 32) ^ x3 ^ key1, x[3] = Word(a);
        key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
    }
}

__device__ T fraction(Word high, Word low) {  // in [0, 1), with as many bits as T holds
    if (sizeof(T) == 4) return T(high >> 8) * T(1.0 / 16777216);
    return T((Long(high) << 21 | low >> 11) & ((1ull << 53) - 1)) * T(1.0 / 9007199254740992.0);
}

extern "C" __global__ void uniform(int n, T* out, const Long* seed_and_counter) {
    ELEMENT
    Word x[4];
    philox(seed_and_counter[0], seed_and_counter[1] + i, x);
    out[i] = fraction(x[0], x[1]);
}

// G. Box, M. Muller, "A note on the generation of random normal deviates", 1958.
extern "C" __global__ void normal(int n, T* out, const Long* seed_and_counter) {
    ELEMENT
    Word x[4];
    philox(seed_and_counter[0], seed_and_counter[1] + i, x);
    T radius = sqrt(T(-2) * log(T(1) - fraction(x[0], x[1])));
    out[i] = radius * cos(T(6.283185307179586) * fraction(x[2], x[3]));
}

extern "C" __global__ void count_draws(int n, Long* seed_and_counter, int drawn) {
    ONCE
    seed_and_counter[1] += drawn;
}

// --- replayed steps -------------------------------------------------------------------------------------------------
// `ledger` on the GPU holds 0 the first step that was not finite (0: none yet), 1 the cause (-1 - term for a loss term,
// or the number of a buffer of gradients), 2 the place in that buffer, 3 the step in progress.

extern "C" __global__ void begin_step(int n, double* ledger) {
    ONCE
    ledger[3] += 1;
}

// Write one loss term to its place in `values`, which holds the last `rows` steps.
extern "C" __global__ void write_down(
    int n, const T* value, double* values, int rows, int terms, int term, double* ledger
) {
    ONCE
    values[(Long(ledger[3]) - 1) % rows * terms + term] = value[0];
    if (!isfinite(value[0]) && ledger[0] == 0) ledger[0] = ledger[3], ledger[1] = -1 - term;
}

// A thread that finds a number that is not finite writes its place. If several threads write, any place will do.
extern "C" __global__ void find_not_finite(int n, const T* gradients, double* ledger, int buffer) {
    ELEMENT
    if (isfinite(gradients[i]) || ledger[0] != 0) return;
    ledger[2] = i;
    ledger[1] = buffer;
    ledger[0] = ledger[3];
}

// Copy a buffer that the step may change. The copy is put back after a step that is not finite.
extern "C" __global__ void keep(int n, T* kept, const T* now, const double* ledger) {
    ELEMENT
    if (ledger[0] == 0) kept[i] = now[i];
}
