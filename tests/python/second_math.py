"""Sections 1 to 3 of docs/numerics.md, written from that page: arithmetic, functions, random numbers.

f32 arithmetic is numpy's; fma rounds once by way of an f64 sum rounded to odd. tests/python/second.py is the rest."""
import ctypes
import ctypes.util
import math
import struct

import numpy as np

f32, f64 = np.float32, np.float64
hexf = float.fromhex
fma = ctypes.CDLL(ctypes.util.find_library("m")).fma  # f64, rounds once
fma.restype, fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3


# ---- 1. arithmetic ----

def fma32(a, b, c):
    """a*b is exact in f64; the sum with c is rounded to odd there, so that rounding it to f32 is the only rounding."""
    p, c = np.multiply(a, b, dtype=f64), np.asarray(c, f64)
    s = p + c
    t = s - p
    error = (p - (s - t)) + (c - t)
    even = (np.asarray(s).view(np.int64) & 1) == 0
    odd = np.nextafter(s, np.where(error > 0, np.inf, -np.inf))
    return np.where((error != 0) & even, odd, s).astype(f32)


def product(a, b, acc=None):
    """chain over k of a[i, k], b[k, j]; continues from acc"""
    acc = np.zeros((a.shape[0], b.shape[1]), f32) if acc is None else acc
    for k in range(a.shape[1]):
        acc = fma32(a[:, k:k + 1], b[k:k + 1, :], acc)
    return acc


def fold(lanes, combine):
    for w in (8, 4, 2, 1):
        lanes = combine(lanes[..., :w], lanes[..., w:2 * w])
    return lanes[..., 0]


def groups(x):
    """[rows, n] as 16 lanes a time: (lanes in use, their elements)"""
    for i in range(0, x.shape[-1], 16):
        m = min(16, x.shape[-1] - i)
        yield slice(0, m), slice(i, i + m)


def lanes16_sum(x, lanes=None):
    lanes = np.zeros(x.shape[:-1] + (16,), f32) if lanes is None else lanes
    for lane, i in groups(x):
        lanes[..., lane] = lanes[..., lane] + x[..., i]
    return lanes


def dot(x, y):
    lanes = np.zeros(x.shape[:-1] + (16,), f32)
    for lane, i in groups(x):
        lanes[..., lane] = fma32(x[..., i], y[..., i], lanes[..., lane])
    return fold(lanes, np.add)


def lanes16_max(x):
    lanes = np.full(x.shape[:-1] + (16,), -np.inf, f32)
    larger = lambda a, b: np.where(a > b, a, b)
    for lane, i in groups(x):
        lanes[..., lane] = larger(x[..., i], lanes[..., lane])
    return fold(lanes, larger)


# ---- 2. functions, f32 ----

LN2_HI32, LN2_LO32 = f32(hexf("0x1.62e4p-1")), f32(hexf("0x1.7f7d1cp-20"))


def exp32(x):
    x = np.asarray(x, f32)
    c = np.where(x < f32(-104), f32(-104), x)
    c = np.where(c > f32(89), f32(89), c)
    magic = f32(hexf("0x1.8p23"))
    t = fma32(c, f32(hexf("0x1.715476p0")), magic)
    k = (t.view(np.uint32) - np.uint32(0x4B400000)).view(np.int32)
    n = t - magic
    r = fma32(n, -LN2_LO32, fma32(n, -LN2_HI32, c))
    p = np.full_like(r, hexf("0x1.6a4f6ep-10"))
    for q in ("0x1.12398p-7", "0x1.5558aep-5", "0x1.555492p-3", "0x1.fffffcp-2", "0x1p0", "0x1p0"):
        p = fma32(p, r, f32(hexf(q)))
    power = lambda e: ((e + 127).astype(np.uint32) << np.uint32(23)).view(f32)
    k1 = k >> 1
    return (p * power(k1)) * power(k - k1)


def log32(x):
    x = np.asarray(x, f32)
    small = x < f32(2.0 ** -126)
    b = np.where(small, x * f32(2 ** 23), x).view(np.uint32)
    k = (b - np.uint32(0x3F3504F3)).view(np.int32) >> 23
    f = (b - (k.astype(np.uint32) << np.uint32(23))).view(f32) - f32(1)
    n = k.astype(f32) - np.where(small, f32(23), f32(0))
    q = np.full_like(f, hexf("0x1.1484e8p-4"))
    for c in ("-0x1.de1004p-4", "0x1.e6c03ep-4", "-0x1.fc26acp-4", "0x1.233b78p-3", "-0x1.555c4ep-3", "0x1.99a478p-3",
              "-0x1.000006p-2", "0x1.555548p-2"):
        q = fma32(q, f, f32(hexf(c)))
    z = f * f
    y = fma32(f32(-0.5), z, fma32(n, LN2_LO32, (q * f) * z))
    return fma32(n, LN2_HI32, f + y)


def sigmoid32(x):
    e = exp32(-np.abs(x))
    n = np.where(x >= 0, f32(1), e)
    d = f32(1) + e
    lost = (f32(1) - d) + e
    q = f32(1) / d
    t = n * q
    u = fma32(-t, lost, fma32(-t, d, n))
    return fma32(u, q, t)


# ---- 2. functions, f64 ----

MAGIC, LN2_HI, LN2_LO = hexf("0x1.8p52"), hexf("0x1.62e42fefa38p-1"), hexf("0x1.ef35793c7673p-45")


def bits(x):
    return struct.unpack("<q", struct.pack("<d", x))[0]


def unbits(b):
    return struct.unpack("<d", struct.pack("<q", b))[0]


def reduce(x, c):
    t = fma(x, hexf("0x1.71547652b82fep0"), MAGIC)
    n, k = t - MAGIC, bits(t) - bits(MAGIC)
    a, b = fma(n, -LN2_HI, x), fma(n, LN2_LO, -c)
    hi = a - b
    low = (a - hi) - b
    q = hexf("0x1.6124613a86d09p-33")
    for p in ("0x1.1eed8eff8d898p-29", "0x1.ae64567f544e4p-26", "0x1.27e4fb7789f5cp-22", "0x1.71de3a556c734p-19",
              "0x1.a01a01a01a01ap-16", "0x1.a01a01a01a01ap-13", "0x1.6c16c16c16c17p-10", "0x1.1111111111111p-7",
              "0x1.5555555555555p-5", "0x1.5555555555555p-3", "0x1p-1"):
        q = fma(q, hi, hexf(p))
    return k, hi, fma(q * hi, hi, fma(low, hi, low))


def scale(y, k):
    k1 = k >> 1
    return (y * 2.0 ** k1) * 2.0 ** (k - k1)


def exp_sum(x, c):
    if x > 710 or x < -746:
        return math.inf if x > 0 else 0.0
    k, hi, lo = reduce(x, c)
    s = 1 + hi
    return scale(s + (((1 - s) + hi) + lo), k)


def exp(x):
    return exp_sum(x, 0.0)


def expm1(x):
    if abs(x) < 2.0 ** -54:
        return x
    if x > 710 or x < -40:
        return math.inf if x > 0 else -1.0
    k, hi, lo = reduce(x, 0.0)
    m = hi + lo
    return m if k == 0 else scale(1 + m, k) if k > 54 else fma(2.0 ** k, m, 2.0 ** k - 1)


def sigmoid(x):
    e = exp(-abs(x))
    n, d = 1.0 if x >= 0 else e, 1 + e
    lost, y = (1 - d) + e, n / d
    return y + (fma(-y, d, n) - y * lost) / d


def split(x):
    bias = 54 if x < 2.0 ** -1022 else 0
    b = bits(x * 2.0 ** bias)
    e = (b - 0x3FE6A09E667F3BCD) >> 52
    return unbits(b - (e << 52)) - 1, e - bias


def log_sum(f, k, c):
    half, s = (0.5 * f) * f, f / (2 + f)
    z = s * s
    r = hexf("0x1.2f0d930f8475fp-3")
    for q in ("0x1.39a0f486b9612p-3", "0x1.74664631d9159p-3", "0x1.c71c51e7da363p-3", "0x1.2492494217cb3p-2",
              "0x1.999999997fb2ep-2", "0x1.5555555555593p-1"):
        r = fma(r, z, hexf(q))
    r *= z
    return k * LN2_HI - ((half - (s * (half + r) + (k * LN2_LO + c))) - f)


def log(x):
    return log_sum(*split(x), 0.0)


def log1p(x):
    if abs(x) < 2.0 ** -54:
        return x
    if -0.29 < x < 0.41:
        return log_sum(x, 0, 0.0)
    u = 1 + x
    lost = 1 - (u - x) if x > 1 else x - (u - 1)
    return log_sum(*split(u), lost / u)


def log_sigmoid(x):
    return -log1p(exp(-x)) if x >= 0 else x - log1p(exp(x))


def two_sum(a, b):
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def two_product(a, b):
    return a * b, fma(a, b, -(a * b))


def power(x, y):
    if y == 0 or x == 1:
        return 1.0
    f, k = split(x)
    d, d_low = two_sum(2.0, f)
    s = f / d
    s_low = fma(-s, d_low, fma(-s, d, f)) / d
    z, z_low = two_product(s, s)
    z_low += (2 * s) * s_low
    third = hexf("0x1.5555555555555p-2")
    w, w_low = two_product(z, third)
    w_low += fma(z_low, third, z * hexf("0x1.5555555555555p-56"))
    t = 1 / 27
    for i in range(25, 4, -2):
        t = fma(t, z, 1 / i)
    t *= z * z
    u, u_low = two_sum(w, t)
    v, v_low = two_sum(1.0, u)
    v_low += u_low + w_low
    p, p_low = two_product(2 * s, v)
    p_low += fma(2 * s, v_low, (2 * s_low) * v)
    r, r_low = two_sum(k * LN2_HI, p)
    r_low += p_low + k * LN2_LO
    hi, lo = two_sum(r, r_low)
    h = y * hi
    return exp_sum(h, fma(y, hi, -h) + y * lo) if abs(h) < 1000 else math.inf if h > 0 else 0.0


def sin_quarters(x, quarters):
    t = fma(x, hexf("0x1.45f306dc9c883p-1"), MAGIC)
    n, quadrant = t - MAGIC, bits(t) & 3
    a = fma(n, -hexf("0x1.921fb54442d18p0"), x)
    b, b_low = two_product(n, hexf("0x1.1a62633145c07p-54"))
    r, r_low = two_sum(a, -b)
    r, r_low = two_sum(r, fma(n, hexf("0x1.f1976b7ed8fbcp-110"), r_low - b_low))
    z = r * r
    if (quadrant + quarters) % 2 == 0:
        q = hexf("0x1.952c77030ad4ap-49")
        for c in ("-0x1.ae7f3e733b81fp-41", "0x1.6124613a86d09p-33", "-0x1.ae64567f544e4p-26", "0x1.71de3a556c734p-19",
                  "-0x1.a01a01a01a01ap-13", "0x1.1111111111111p-7", "-0x1.5555555555555p-3"):
            q = fma(q, z, hexf(c))
        y = r + fma(q * z, r, fma(-0.5 * z, r_low, r_low))
    else:
        half = 0.5 * z
        w, q = 1 - half, hexf("0x1.ae7f3e733b81fp-45")
        for c in ("-0x1.93974a8c07c9dp-37", "0x1.1eed8eff8d898p-29", "-0x1.27e4fb7789f5cp-22", "0x1.a01a01a01a01ap-16",
                  "-0x1.6c16c16c16c17p-10", "0x1.5555555555555p-5"):
            q = fma(q, z, hexf(c))
        y = w + (((1 - w) - half) + fma(q * z, z, -r * r_low))
    return -y if (quadrant + quarters) & 2 else y


def sin(x):
    return x if abs(x) < 2.0 ** -27 else sin_quarters(x, 0)


def cos(x):
    return sin_quarters(x, 1)


# ---- 3. random numbers ----

def philox(seed, purpose, stream, counter):
    mask = 0xFFFFFFFF
    k0, k1 = seed & mask, (seed >> 32) ^ (purpose * 0x9E3779B9 & mask)
    c = [counter & mask, counter >> 32, stream & mask, stream >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k0, p1 & mask, p0 >> 32 ^ c[3] ^ k1, p0 & mask]
        k0, k1 = k0 + 0x9E3779B9 & mask, k1 + 0xBB67AE85 & mask
    return c


def normal(seed, purpose, stream, counter):
    v = philox(seed, purpose, stream, counter)
    unit = lambda low, high: float((high << 32 | low) >> 11) * 2.0 ** -53
    return math.sqrt(-2 * log(1 - unit(v[0], v[1]))) * cos(hexf("0x1.921fb54442d18p2") * unit(v[2], v[3]))


def shuffled(n, seed, stream):
    order, counter = list(range(n)), 0
    for i in range(n - 1, 0, -1):
        while True:
            p = philox(seed, 2, stream, counter)[0] * (i + 1)
            counter += 1
            if (p & 0xFFFFFFFF) >= (2 ** 32 - (i + 1)) % (i + 1):
                break
        j = p >> 32
        order[i], order[j] = order[j], order[i]
    return order
