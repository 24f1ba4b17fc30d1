"""A residual network for images up to 224 pixels and more: each block adds what it found to what it was given.

After He et al. 2016, "Identity mappings in deep residual networks": norms and bends stand before the convolutions, so
that what comes in passes to the end unchanged. The last convolution of a block starts at zero: a fresh network is a
shallow one and grows deep as it learns. A skip that halves the image averages instead of dropping three pixels of four,
and large images enter by two 3x3 convolutions instead of one 7x7 and a pooling (He et al. 2019, "Bag of tricks").

Groups of channels are normalised within each example (Wu and He 2018, "Group normalization"), not within the batch:
batch norm would make an example's outputs depend on its neighbours, so that neither accumulated batches nor several
processes would train what one large batch does, and a batch of one could not be trained at all. There is no norm at the
end: averaged over all places, what was just normalised says little.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

LARGE = 96  # pixels from which the stem divides height and width by 4
CHANNELS_A_GROUP = 8


class ResNet(nn.Module):
    """A stem, stages of residual blocks, the average over all places, and one linear layer.

    Args:
        channels: of the image: 1 for grey, 3 for colour.
        height: in pixels.
        width: in pixels.
        num_outputs: classes, labels or values.
        filters: of the first stage; each later stage has twice as many and half the height and width.
        blocks: in each stage; (2, 2, 2, 2) with 64 filters is the size of ResNet-18.
        dropout: share of the averaged features silenced at random while training.
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        num_outputs: int,
        filters: int = 32,
        blocks: Sequence[int] = (1, 1, 1, 1),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        size = min(height, width)
        if size < LARGE:
            self.stem = nn.Sequential(_conv(channels, filters))
        else:
            enter = _conv(channels, filters, stride=2)
            self.stem = nn.Sequential(enter, _norm(filters), nn.ReLU(), _conv(filters, filters, stride=2))
            size //= 4
        self.stages = nn.Sequential()
        came_with = filters
        for stage, count in enumerate(blocks):
            stride = 2 if stage and size >= 4 else 1  # smaller images are not halved any more
            size //= stride
            for block in range(count):
                self.stages.append(Block(came_with, filters, stride if block == 0 else 1))
                came_with = filters
            filters *= 2
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(came_with, num_outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Turn (N, channels, height, width) floats into (N, num_outputs) logits or values."""
        features = self.stages(self.stem(images)).relu().mean((2, 3))
        return self.output(self.dropout(features))


class Block(nn.Module):
    """Two 3x3 convolutions beside a skip, added up.

    Args:
        channels: that come in.
        filters: that go out.
        stride: 2 halves height and width.
    """

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        last = _conv(filters, filters)
        nn.init.zeros_(last.weight)
        first = [_norm(channels), nn.ReLU(), _conv(channels, filters, stride=stride)]
        self.body = nn.Sequential(*first, _norm(filters), nn.ReLU(), last)
        self.skip = nn.Sequential()  # nothing: the input as it is
        if stride != 1:
            self.skip.append(nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False))
        if channels != filters:
            self.skip.append(_conv(channels, filters, kernel=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.skip(images) + self.body(images)


def _conv(channels: int, filters: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2, bias=False)  # the norms have biases
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return conv


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // CHANNELS_A_GROUP if channels % CHANNELS_A_GROUP == 0 else 1, channels)
