"""Losses of rows by the kind of label that a network learns. Requires the package torch."""

import numpy as np
import torch
from torch import Tensor, nn

from keyfold.labels import Binary, Multilabel, Number
from keyfold.models.heads import Head, unpack_bits
from keyfold.training.streams import Cells

UNKNOWN_LOSS = -float(np.log(np.finfo(float).eps))  # of a class that the train fold lacks, as in metrics


def row_losses(head: Head, outputs: Tensor, rows: Cells) -> Tensor:
    """The loss of each row, float32 (rows), of outputs (rows,) or (rows, units); of several labels, the mean of their losses."""
    if head.excludes:
        return _class_losses(outputs, torch.from_numpy(rows.label).to(outputs.device, non_blocking=True).long())
    if head.kind == Multilabel.kind:
        has = torch.from_numpy(unpack_bits(rows.label_bits, head.units)).to(outputs.device, non_blocking=True)
        outputs = outputs.reshape(has.shape)
        return nn.functional.binary_cross_entropy_with_logits(outputs, has.float(), reduction="none").mean(1)
    loss = {Binary.kind: nn.functional.binary_cross_entropy_with_logits, Number.kind: nn.functional.mse_loss}[head.kind]
    return loss(outputs, torch.from_numpy(rows.label).to(outputs.device, non_blocking=True), reduction="none")


def _class_losses(outputs: Tensor, code: Tensor) -> Tensor:
    losses = nn.functional.cross_entropy(outputs, code.clamp(min=0), reduction="none")
    return torch.where(code < 0, UNKNOWN_LOSS, losses)
