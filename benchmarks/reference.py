"""The reference trainer: torch's own encoder, Adam and a DataLoader, as such scripts are usually written."""

# shapes: B batch, C features, T days, N patches, D width

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fts.model.architecture import ModelConfig


class ReferenceModel(nn.Module):
    """The same function as fts.model.PatchTST from torch's parts, with dropout at torch's places."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        a = config.architecture
        self.config = config
        self.embed = nn.Linear(config.patch * config.n_features, a.d_model)
        self.position = nn.Parameter(torch.randn(config.n_patches, a.d_model) * 0.02)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            a.d_model, a.n_heads, a.d_ff, config.dropout, activation="gelu", batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(a.d_model)
        self.encoder = nn.TransformerEncoder(layer, a.n_layers, norm, enable_nested_tensor=False)
        self.head = nn.Linear(config.n_patches * a.d_model, 1)

    def forward(self, x_BCT: Tensor) -> Tensor:
        x_BCT = (x_BCT - x_BCT.mean(-1, keepdim=True)) / (x_BCT.std(-1, keepdim=True) + 1e-5)
        x_BNP = x_BCT.unfold(-1, self.config.patch, self.config.stride).transpose(1, 2).flatten(2)
        x_BND = self.dropout(self.embed(x_BNP) + self.position)
        return self.head(self.encoder(x_BND).flatten(1)).squeeze(-1)


class WindowDataset(Dataset[tuple[Tensor, Tensor]]):
    """One window at a time, as a DataLoader needs it."""

    def __init__(self, features_TC: Tensor, y_T: Tensor, ends: Tensor, context: int) -> None:
        self.features_TC, self.y_T, self.ends, self.context = features_TC, y_T, ends.tolist(), context

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        end = self.ends[index]
        return self.features_TC[end - self.context + 1 : end + 1].T, self.y_T[end]


def reference_steps(
    config: ModelConfig, features_TC: Tensor, y_T: Tensor, ends: Tensor, batch: int
) -> tuple[Callable[[], None], int]:
    """Returns a function that takes one optimizer step per call, and the model's number of parameters."""
    model = ReferenceModel(config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    loader = DataLoader(WindowDataset(features_TC, y_T, ends, config.context), batch, shuffle=True, drop_last=True)
    batches = _for_ever(loader)
    loss_function = nn.BCEWithLogitsLoss()

    def step() -> None:
        x_BCT, y_B = next(batches)
        optimizer.zero_grad()
        loss = loss_function(model(x_BCT), y_B)
        loss.backward()
        optimizer.step()

    return step, sum(parameter.numel() for parameter in model.parameters())


def _for_ever(loader: DataLoader[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader
