"""The published network written down a second time, straight from torchvision and plain formulas, as the reference."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

from protoleak.choices import BackboneKind

STATE = dict[str, torch.Tensor]


class _Conv(nn.Module):
    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        widths = [channels, 64, 128, 192]
        for index in (1, 2, 3):
            conv = nn.Conv2d(widths[index - 1], widths[index], 3, stride=1 if index == 1 else 2, padding=1)
            setattr(self, f"conv{index}", conv)
            setattr(self, f"bn{index}", nn.BatchNorm2d(widths[index]))
        self.head = nn.Linear(192, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index in (1, 2, 3):
            x = F.relu(getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0])


class _Torchvision(nn.Module):
    def __init__(self, kind: BackboneKind, channels: int, size: int, vit_image_size: int) -> None:
        super().__init__()
        if kind == "vit_b_16":
            base = models.vit_b_16(weights=None, image_size=vit_image_size)
            if channels != 3:
                base.conv_proj = nn.Conv2d(channels, 768, 16, stride=16, bias=False)
            base.heads, features = nn.Identity(), 768
        elif kind == "efficientnet_b4":
            base = models.efficientnet_b4(weights=None)
            if channels != 3:
                base.features[0][0] = nn.Conv2d(channels, 48, 3, stride=2, padding=1, bias=False)
            base.classifier, features = nn.Identity(), 1792
        else:
            base = getattr(models, kind)(weights=None)
            if channels != 3:
                base.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
            base.fc, features = nn.Identity(), 512 if kind == "resnet18" else 2048
        self.base = base
        self.head = nn.Linear(features, size)
        self.side = vit_image_size if kind == "vit_b_16" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.side is not None:
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)
        return self.head(self.base(x))


class PublishedNetwork(nn.Module):
    """Has the published checkpoint's entries as children: `backbone`, `proto_head`, `lse_agg`, and `query` besides."""

    def __init__(
        self,
        kind: BackboneKind = "conv",
        channels: int = 4,
        size: int = 16,
        generators: int = 3,
        prototypes: int = 2,
        gate: bool = True,
        log_sum_exp: bool = True,
        vit_image_size: int = 224,
    ) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.encoder = (
            _Conv(channels, size) if kind == "conv" else _Torchvision(kind, channels, size, vit_image_size)
        )
        if gate:
            self.backbone.att = nn.Module()
            self.backbone.att.gate = nn.Sequential(
                nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size), nn.Sigmoid()
            )
        self.proto_head = nn.Module()
        self.proto_head.protos = nn.Parameter(torch.randn(generators, prototypes, size))
        if log_sum_exp:
            self.lse_agg = nn.Module()
            self.lse_agg.log_tau = nn.Parameter(torch.tensor(0.3))
        self.query = nn.Linear(size, 1)

    def settle(self, z_t: torch.Tensor) -> PublishedNetwork:
        """Gives batch norms statistics of real inputs: fresh ones let a deep network's signal die, and hide errors.

        Channels that hardly vary get the spread of the others, or rounding errors would grow without bound in them.
        """
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        if not norms:
            return self.eval()
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            self.train()
            self.backbone.encoder(z_t.flatten(0, 1))
            for norm in norms:
                norm.running_var.clamp_(min=float(norm.running_var.mean()))
        return self.eval()

    def checkpoint(self, *, optimizer: bool = False, am_head: bool = False) -> dict[str, Any]:
        """What the published code would save."""
        content: dict[str, Any] = {"backbone": self.backbone.state_dict(), "proto_head": self.proto_head.state_dict()}
        if hasattr(self, "lse_agg"):
            content["lse_agg"] = self.lse_agg.state_dict()
        if am_head:
            content["am_head"] = {
                "weight": torch.randn(self.proto_head.protos.shape[0], self.proto_head.protos.shape[2])
            }
        if optimizer:
            parameters = [*self.backbone.parameters(), *self.proto_head.parameters()]
            adam = torch.optim.AdamW(parameters, lr=1e-4)
            for parameter in parameters:
                parameter.grad = torch.zeros_like(parameter)
            adam.step()
            content["optimizer"] = adam.state_dict()
        return content

    @torch.no_grad()
    def expected(self, z_t: torch.Tensor, *, uniform: bool = False) -> dict[str, torch.Tensor]:
        """Every output for z_t [N, T, C', h, w], one image and one timestep at a time."""
        rows: dict[str, list[torch.Tensor]] = {}
        protos = self.proto_head.protos
        for image in z_t:
            h = torch.cat([self.backbone.encoder(noised[None]) for noised in image])
            g = self.backbone.att.gate(h) if hasattr(self.backbone, "att") else torch.ones_like(h)
            weight = torch.softmax(self.query(h)[:, 0], dim=0)
            if uniform or len(h) == 1:
                weight = torch.full((len(h),), 1 / len(h))
            embedding, gate = weight @ h, weight @ g
            distance = torch.stack(
                [torch.stack([(gate * (embedding - p) ** 2).sum() for p in each]) for each in protos]
            )
            score = -distance.min(dim=1).values
            if hasattr(self, "lse_agg"):
                tau = float(self.lse_agg.log_tau.exp().clamp(0.5, 5.0))
                score = tau * torch.log(torch.exp(-(distance - distance.min(dim=1, keepdim=True).values) / tau).sum(1))
                score = score - distance.min(dim=1).values
            found = {
                "embedding": embedding,
                "gate": gate,
                "timestep_weight": weight,
                "prototype_distance": distance,
                "class_score": score,
            }
            for name, value in found.items():
                rows.setdefault(name, []).append(value)
        return {name: torch.stack(values) for name, values in rows.items()}
