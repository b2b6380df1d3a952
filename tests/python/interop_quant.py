#!/usr/bin/env python3
"""Compares our dequantised weights with the gguf package, float by float.

    python3 tests/python/interop_quant.py BUILD_DIR

Uses BUILD_DIR/tests/weight as a tool, on every level that the machine has. Blocks come from the package's own
quantisation of random matrices where it has one, and, for every type, from random bytes with finite scales. Opt-in:
not part of `make test`.
"""
import os
import subprocess
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf import quants

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
WEIGHT = os.path.join(BUILD, "tests", "weight")
QUANTISED = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]  # what the package itself can make
SCALES = {"F16": [0], "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "Q2_K": [80, 82], "Q3_K": [108]}  # where a block has its f16 numbers
passed = failed = 0


def check(ok, message):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAILED:", message)


def ours(name, cols, blocks, isa):
    r = subprocess.run([WEIGHT, "--widen", name, str(cols)], input=blocks.tobytes(), capture_output=True,
                       env=dict(os.environ, DMPO_ISA=isa))
    if r.returncode != 0:
        raise RuntimeError(r.stderr.decode().strip()[-300:])
    return np.frombuffer(r.stdout, np.float32).reshape(-1, cols)


def levels():
    usable = []
    for isa in ("scalar", "avx2", "avx512", "neon"):
        r = subprocess.run([WEIGHT, "--widen", "F32", "1"], input=b"", capture_output=True,
                           env=dict(os.environ, DMPO_ISA=isa))
        usable += [isa] * (r.returncode == 0)
    return usable


def random_blocks(rng, name, rows, cols):
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    raw = rng.integers(0, 256, (rows * cols // block, size), dtype=np.uint8)
    if name == "BF16":
        raw[:, 1] &= 0xBF  # no exponent of ones
    for at in SCALES.get(name, []):
        low, high = raw[:, at], raw[:, at + 1]
        high[(high & 0x7C) == 0x7C] ^= 0x40  # finite
        tiny = rng.random(len(raw)) < 0.1  # subnormal or zero
        high[tiny] &= 0x83
        low[rng.random(len(raw)) < 0.02] = 0
    return raw.reshape(rows, -1)


def main():
    rng = np.random.default_rng(1)
    rows, cols = 96, 768
    isas = levels()
    check(isas[:1] == ["scalar"], f"{WEIGHT} does not run")
    for name in ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "Q2_K", "Q3_K"]:
        kind = GGMLQuantizationType[name]
        cases = [("random blocks", random_blocks(rng, name, rows, cols))]
        if name in QUANTISED:
            x = rng.standard_normal((rows, cols)).astype(np.float32) * np.exp(rng.uniform(-9, 3, (rows, 1)))
            cases.append(("quantised", quants.quantize(x.astype(np.float32), kind).view(np.uint8).reshape(rows, -1)))
        for what, blocks in cases:
            want = quants.dequantize(blocks, kind).reshape(rows, cols)
            for isa in isas:
                got = ours(name, cols, blocks, isa)
                same = got.shape == want.shape and bool((got == want).all())  # == lets the sign of zero differ
                check(same and np.isfinite(want).all(), f"{name}, {what}, {isa}: not the package's floats")
        print(f"{name:<5} {len(cases) * rows * cols} elements on {', '.join(isas)}")
    print(f"interop_quant: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
