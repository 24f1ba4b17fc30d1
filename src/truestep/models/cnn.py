"""A convolutional network for small images: look at 3x3 neighbourhoods, keep the strongest answers, repeat.

Plain on purpose: without dropout it draws no random numbers, and without batch norm an example's outputs do not depend
on the batch it is in, so training in several processes gives what training in one does.
"""

from __future__ import annotations

from torch import Tensor, nn


class CNN(nn.Module):
    """Stages of two convolutions and a pooling that halves height and width, then two linear layers.

    Args:
        channels: of the image: 1 for grey, 3 for colour.
        height: in pixels.
        width: in pixels.
        num_outputs: classes, labels or values.
        filters: of the first stage; each later stage has twice as many.
        hidden: units of the layer before the outputs.
    """

    def __init__(
        self, channels: int, height: int, width: int, num_outputs: int, filters: int = 32, hidden: int = 128
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential()
        while min(height, width) >= 4:
            self.stages.extend(
                [
                    nn.Conv2d(channels, filters, 3, padding=1),
                    nn.ReLU(),
                    nn.Conv2d(filters, filters, 3, padding=1),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                ]
            )
            channels, filters, height, width = filters, 2 * filters, height // 2, width // 2
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, hidden), nn.ReLU())
        self.output = nn.Linear(hidden, num_outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Turn (N, channels, height, width) floats into (N, num_outputs) logits or values."""
        return self.output(self.hidden(self.stages(images)))
