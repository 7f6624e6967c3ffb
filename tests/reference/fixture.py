"""Writes safetensors with the standard library only: name -> float32 tensor, sorted, header padded to 8 bytes.

The fixtures were made with PyTorch 1.13 and torchvision 0.14.
"""

import json
import struct


def save(path, tensors):
    """Writes `tensors` (name -> torch tensor of any float type) as F32, in name order."""
    header, body = {}, b""
    for name in sorted(tensors):
        array = tensors[name].detach().float().contiguous().numpy()
        data = array.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)
    print(path, 8 + len(text) + len(body), "bytes")
