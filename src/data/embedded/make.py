#!/usr/bin/env python3
"""Makes the embedded subset: python3 make.py DIR, with the four Fashion-MNIST idx files (gzipped) in DIR.

Takes the first 1000 training and the first 200 test images of each class, in their order, and writes them beside this
script as idx files again. The gzip header holds no time and no name, so the same input gives the same bytes.
"""

import gzip
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLASSES = 10


def read_idx(path, rank):
    data = gzip.decompress(path.read_bytes())
    magic, *dims = struct.unpack_from(f">{rank + 1}I", data)
    assert magic == 0x0800 + rank, path
    return dims, data[4 * (rank + 1) :]


def write_idx(path, dims, data):
    header = struct.pack(f">{len(dims) + 1}I", 0x0800 + len(dims), *dims)
    packed = gzip.compress(header + data, compresslevel=9, mtime=0)
    path.write_bytes(packed)
    print(f"{path.name}: {len(packed)} bytes")


def main(source):
    for split, each in (("train", 1000), ("t10k", 200)):
        (count, height, width), images = read_idx(source / f"{split}-images-idx3-ubyte.gz", 3)
        _, labels = read_idx(source / f"{split}-labels-idx1-ubyte.gz", 1)
        size, seen, picked = height * width, [0] * CLASSES, []
        for i in range(count):
            if seen[labels[i]] < each:
                seen[labels[i]] += 1
                picked.append(i)
        assert seen == [each] * CLASSES
        pixels = b"".join(images[i * size : (i + 1) * size] for i in picked)
        write_idx(HERE / f"{split}-images-idx3-ubyte.gz", [len(picked), height, width], pixels)
        write_idx(HERE / f"{split}-labels-idx1-ubyte.gz", [len(picked)], bytes(labels[i] for i in picked))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
