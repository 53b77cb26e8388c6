// Convolution and pooling on images that lie in memory as (H, C, W, N), batch innermost. Neighbouring threads compute
// neighbouring images of the batch, and so read neighbouring addresses.
//
// Sums are gathered. A thread computes one element of the result: it visits the taps of the window in order and adds
// their values. No thread adds to memory that another thread writes, so the same input gives the same bits.

#define GEOMETRY                                                                                              \
    int H, int C, int W, int N,    /* the larger images */                                                   \
    int Ho, int Wo,                /* windows: rows and columns of smaller images, (Ho, C, Wo, N) */         \
    int kh, int kw, int sh, int sw, int dh, int dw, int top, int left  /* kernel, stride, dilation, padding */

// The innermost coordinate in `rest`, along an axis of `size`; the other coordinates stay in `rest`.
__device__ int coordinate(int& rest, int size) {
    int innermost = rest % size;
    rest /= size;
    return innermost;
}

// The element of the result that this thread computes: its number, and its coordinates as a pixel or as a window.
#define ELEMENT int element = blockIdx.x * blockDim.x + threadIdx.x, rest = element; if (element >= n) return;
#define PIXEL ELEMENT int b = coordinate(rest, N), w = coordinate(rest, W), c = coordinate(rest, C), h = rest;
#define WINDOW ELEMENT int b = coordinate(rest, N), wo = coordinate(rest, Wo), c = coordinate(rest, C), ho = rest;

// Along one axis: the pixel on which `tap` of `window` lies; negative in the padding.
__device__ int pixel_under(int window, int tap, int stride, int dilation, int pad, int pixels) {
    int pixel = window * stride + tap * dilation - pad;
    return pixel < pixels ? pixel : -1;
}

// The reverse: the window whose `tap` lies on `pixel`; -1 where no window does.
__device__ int window_over(int pixel, int tap, int stride, int dilation, int pad, int windows) {
    int start = pixel + pad - tap * dilation;  // where the window begins, in the padded image
    return start >= 0 && start % stride == 0 && start / stride < windows ? start / stride : -1;
}

// out (Ho, kh, kw, C, Wo, N): the pixels under every window, zeros in the padding (im2col).
extern "C" __global__ void columns(int n, const T* X, T* out, GEOMETRY) {
    ELEMENT
    int b = coordinate(rest, N), wo = coordinate(rest, Wo), c = coordinate(rest, C),
        j = coordinate(rest, kw), i = coordinate(rest, kh), ho = rest;
    int h = pixel_under(ho, i, sh, dh, top, H), w = pixel_under(wo, j, sw, dw, left, W);
    out[element] = h < 0 || w < 0 ? T(0) : X[((h * C + c) * W + w) * N + b];
}

// The adjoint (col2im): X (H, C, W, N), the sum of the values in `product` (Ho, kh, kw, C, Wo, N) for each pixel.
extern "C" __global__ void fold(int n, const T* product, T* X, GEOMETRY) {
    PIXEL
    T sum = 0;
    for (int i = 0; i < kh; ++i) {
        int ho = window_over(h, i, sh, dh, top, Ho);
        if (ho < 0) continue;
        for (int j = 0; j < kw; ++j) {
            int wo = window_over(w, j, sw, dw, left, Wo);
            if (wo >= 0) sum += product[((((ho * kh + i) * kw + j) * C + c) * Wo + wo) * N + b];
        }
    }
    X[element] = sum;
}

// best (Ho, C, Wo, N): the largest pixel of each window; index: its tap. Ties go to the first tap. `lowest` is -inf.
// A NaN passes on. The tap is then the tap of the largest pixel before the NaN.
extern "C" __global__ void max_pool(int n, const T* X, T* best, unsigned char* index, T lowest, GEOMETRY) {
    WINDOW
    T largest = lowest;
    int tap = 0;
    for (int i = 0; i < kh; ++i) {
        int h = pixel_under(ho, i, sh, dh, top, H);
        for (int j = 0; j < kw; ++j) {
            int w = pixel_under(wo, j, sw, dw, left, W);
            if (h < 0 || w < 0) continue;
            T x = X[((h * C + c) * W + w) * N + b];
            if (x > largest) tap = i * kw + j;
            if (x > largest || x != x) largest = x;  // no number is larger than NaN
        }
    }
    best[element] = largest;
    index[element] = tap;
}

// X (H, C, W, N): the sum of those elements of G (Ho, C, Wo, N) whose `index` names this pixel of their window.
extern "C" __global__ void put_back(int n, const T* G, const unsigned char* index, T* X, GEOMETRY) {
    PIXEL
    T sum = 0;
    for (int i = 0; i < kh; ++i) {
        int ho = window_over(h, i, sh, dh, top, Ho);
        if (ho < 0) continue;
        for (int j = 0; j < kw; ++j) {
            int wo = window_over(w, j, sw, dw, left, Wo), from = ((ho * C + c) * Wo + wo) * N + b;
            if (wo >= 0 && index[from] == i * kw + j) sum += G[from];
        }
    }
    X[element] = sum;
}

// The adjoint: Y (Ho, C, Wo, N), the pixel of each window that `index` names; 0 for a pixel of the padding.
extern "C" __global__ void pick(int n, const T* X, const unsigned char* index, T* Y, GEOMETRY) {
    WINDOW
    int tap = index[element];
    int h = pixel_under(ho, tap / kw, sh, dh, top, H), w = pixel_under(wo, tap % kw, sw, dw, left, W);
    Y[element] = h < 0 || w < 0 ? T(0) : X[((h * C + c) * W + w) * N + b];
}

// Y (Ho, C, Wo, N): the sum of each window.
extern "C" __global__ void pool_sum(int n, const T* X, T* Y, GEOMETRY) {
    WINDOW
    T sum = 0;
    for (int i = 0; i < kh; ++i) {
        int h = pixel_under(ho, i, sh, dh, top, H);
        for (int j = 0; j < kw; ++j) {
            int w = pixel_under(wo, j, sw, dw, left, W);
            if (h >= 0 && w >= 0) sum += X[((h * C + c) * W + w) * N + b];
        }
    }
    Y[element] = sum;
}

// The adjoint: X (H, C, W, N), the sum of the elements of G (Ho, C, Wo, N) whose windows have this pixel.
extern "C" __global__ void spread(int n, const T* G, T* X, GEOMETRY) {
    PIXEL
    T sum = 0;
    for (int i = 0; i < kh; ++i) {
        int ho = window_over(h, i, sh, dh, top, Ho);
        for (int j = 0; j < kw; ++j) {
            int wo = window_over(w, j, sw, dw, left, Wo);
            if (ho >= 0 && wo >= 0) sum += G[((ho * C + c) * Wo + wo) * N + b];
        }
    }
    X[element] = sum;
}
