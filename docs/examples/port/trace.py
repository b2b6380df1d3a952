"""Writes a trace (docs/trace.md) from PyTorch or numpy tensors. Copy this file into a port.

    trace = Trace(config=json.load(open("config.json")), items=case["pairs"], loss={...}, optimizer={...}, lr=5e-4)
    trace.put("item.0/model.layers.0.mlp.act.out", h)     # any tensor, as its operation is named
    trace.keep("item.0/model.layers.0.mlp.act.out", h)    # the same, and the gradient that autograd gives it
    trace.save("port.safetensors")
"""
import hashlib
import json
import struct

import torch

NAMES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64",
         torch.int32: "I32"}


class Trace:
    def __init__(self, config, items, loss, optimizer, lr, step=0, precision=None, lora=None, share_prefix=False,
                 narrow=False, writer="a port"):
        self.prefix, self.tensors, self.kept = f"step.{step}/", {}, []
        self.manifest = dict(format="dmpo-trace", version=1, writer=writer, config=config, loss=loss,
                             optimizer=optimizer, share_prefix=share_prefix, narrow=narrow,
                             precision=precision or dict(compute="f32", accumulate="f32"),
                             steps=[dict(step=step, lr=lr, items=items)])
        if lora:
            self.manifest["lora"] = lora

    def put(self, name, tensor):
        self.tensors[self.prefix + name] = torch.as_tensor(tensor).detach().cpu().clone().contiguous()

    def keep(self, name, tensor, source=None):
        """source: the tensor whose gradient is meant, when it is not this one's."""
        self.put(name, tensor)
        source = tensor if source is None else source
        if source.requires_grad:
            source.retain_grad()
            self.kept.append((name + ".grad", source))
        return tensor

    def save(self, path):
        for name, tensor in self.kept:
            if tensor.grad is not None:
                self.put(name, tensor.grad)
        header, data, at, sums = {}, [], 0, {}
        for name, tensor in self.tensors.items():
            raw = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
            header[name] = dict(dtype=NAMES[tensor.dtype], shape=list(tensor.shape), data_offsets=[at, at + len(raw)])
            sums[name] = dict(sha256=hashlib.sha256(raw).hexdigest())
            data.append(raw)
            at += len(raw)
        manifest = json.dumps(dict(self.manifest, tensors=sums))
        text = json.dumps(dict(__metadata__=dict(format="pt", manifest=manifest), **header)).encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text + b"".join(data))
