#!/usr/bin/env python3
"""An independent reader and writer of transcripts, from docs/transcript.md alone.

    python3 tests/python/transcript.py RUN...

Says for each directory of dmpo train or dmpo learn whether its files, its chain of leaves, its root and its metrics
agree, and its episodes with the records of the last round: all that can be known without computing a step.
tests/python/second.py computes the steps, too, and compares whole transcripts.
Needs nothing but Python.
"""
import hashlib
import json
import os
import struct
import sys

HEAD, RECORD, CHUNK, TOKENS = 128, 160, 16384, 16384


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# ---- what is written ----

def chunks_of(floats):
    return -(-floats // CHUNK)


def state(values, first, n):
    """values: the trained floats as little-endian bytes; the hash of n chunks from `first` on"""
    size, count = 4 * CHUNK, chunks_of(len(values) // 4)
    return sha(*(sha(values[c * size:(c + 1) * size]) for c in ((first + i) % count for i in range(n))))


def head(steps, floats, identity, first_state):
    data = struct.pack("<8sQQQ32s32s", b"DMPOTRAN", 1, steps, floats, identity, first_state)
    return data + sha(b"\0", data)


def record(before, *fields):
    """fields: step, epoch, tokens, loss, norm, lr, first chunk, chunks, items, state; before: the leaf before"""
    data = struct.pack("<QQQdddQQ32s32s", *fields)
    return data + sha(b"\0", before, data)


def items_hash(batch, ids, before=b""):
    """before: of a round's items the digest of its episodes' file"""
    return sha(before, *(struct.pack("<Q", i) + ids[i].encode() + b"\0" for i in batch))


class Writer:
    """The transcript of a run, step by step."""

    def __init__(self, steps, identity, values):
        self.steps, self.floats, self.next = steps, len(values) // 4, 0
        self.data = head(steps, self.floats, identity, state(values, 0, chunks_of(self.floats)))

    def add(self, step, epoch, tokens, loss, norm, lr, batch, ids, values, before=b""):
        count = chunks_of(self.floats)
        n = count if step == self.steps else min(count, -(-count * tokens // TOKENS))
        self.data += record(self.data[-32:], step, epoch, tokens, loss, norm, lr, self.next, n,
                            items_hash(batch, ids, before), state(values, self.next, n))
        self.next = (self.next + n) % count


# ---- what is read ----

def leaves(data):
    return [data[96:128]] + [data[i + 128:i + 160] for i in range(HEAD, len(data), RECORD)]


def root(leaf):
    if len(leaf) == 1:
        return leaf[0]
    k = 1 << (len(leaf) - 1).bit_length() - 1
    return sha(b"\1", root(leaf[:k]), root(leaf[k:]))


def read(data):
    """(steps, floats, identity, state) and the records' fields; raises ValueError"""
    if len(data) < HEAD or (len(data) - HEAD) % RECORD:
        raise ValueError(f"{len(data)} bytes are no transcript")
    magic, version, steps, floats, identity, first = struct.unpack("<8sQQQ32s32s", data[:96])
    if magic != b"DMPOTRAN" or version != 1 or data[:HEAD] != head(steps, floats, identity, first):
        raise ValueError("the header")
    records, before = [], data[96:HEAD]
    for i in range(HEAD, len(data), RECORD):
        fields = struct.unpack("<QQQdddQQ32s32s", data[i:i + 128])
        if data[i:i + RECORD] != record(before, *fields) or fields[0] != len(records) + 1:
            raise ValueError(f"the leaf of step {len(records) + 1}")
        records.append(fields)
        before = data[i + 128:i + RECORD]
    return (steps, floats, identity, first), records


def seal(text):
    """run.json with its checksum made anew"""
    body = text[:text.rindex(b', "checksum": "')]
    return body + b', "checksum": "' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


def problems(run):
    inside = lambda name: open(os.path.join(run, name), "rb").read()
    text = inside("run.json")
    found = [] if text == seal(text) else ["run.json: its checksum"]
    about = json.loads(text)
    for name, digest in about["files"].items():
        if name.startswith("checkpoint") and not os.path.exists(os.path.join(run, name)):
            continue  # removed since
        if hashlib.sha256(inside(name)).hexdigest() != digest:
            found.append(f"{name}: its hash")
    data = inside("transcript.bin")
    try:
        (steps, floats, _, _), records = read(data)
    except ValueError as e:
        return found + [f"transcript.bin: {e}"]
    if root(leaves(data)).hex() != about["transcript_sha256"]:
        found.append("transcript.bin: its root")
    place, count = 0, chunks_of(floats)
    for r in records:
        n = count if r[0] == steps else min(count, -(-count * r[2] // TOKENS))
        if (r[6], r[7]) != (place, n):
            found.append(f"transcript.bin: the chunks of step {r[0]}")
        place = (place + n) % count
    lines = [x for x in map(json.loads, inside("metrics.jsonl").splitlines()) if x["kind"] == "train"]
    if [(x["step"], x["tokens"], x["loss"], x["grad_norm"], x["lr"]) for x in lines] != [
            (r[0], r[2], r[3], r[4], r[5]) for r in records if r[2]]:
        found.append("metrics.jsonl: other figures than transcript.bin")
    return found


def main():
    bad = 0
    for run in sys.argv[1:]:
        found = problems(run)
        bad += bool(found)
        print(f"{run}: {'; '.join(found) if found else 'agrees with itself'}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
