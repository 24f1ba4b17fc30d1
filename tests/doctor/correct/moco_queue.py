"""Momentum contrast: a key encoder that is a moving average, and a queue of negatives.

The key encoder stays in train mode, as in the original.

Source: facebookresearch/moco#70
"""

import torch
import torch.nn as nn


class MoCo(nn.Module):
    def __init__(self, base_encoder, dim=16, K=256, m=0.99, T=0.2):
        super().__init__()
        self.K, self.m, self.T = K, m, T
        self.encoder_q = base_encoder(dim)
        self.encoder_k = base_encoder(dim)
        for param_q, param_k in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
            param_k.data.copy_(param_q.data)  # initialize
            param_k.requires_grad = False  # not update by gradient
        self.register_buffer("queue", nn.functional.normalize(torch.randn(dim, K), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def _momentum_update_key_encoder(self):
        for param_q, param_k in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
            param_k.data = param_k.data * self.m + param_q.data * (1.0 - self.m)

    @torch.no_grad()
    def _dequeue_and_enqueue(self, keys):
        batch_size = keys.shape[0]
        ptr = int(self.queue_ptr)
        self.queue[:, ptr : ptr + batch_size] = keys.T
        self.queue_ptr[0] = (ptr + batch_size) % self.K

    def forward(self, im_q, im_k):
        q = nn.functional.normalize(self.encoder_q(im_q), dim=1)
        with torch.no_grad():
            self._momentum_update_key_encoder()
            k = nn.functional.normalize(self.encoder_k(im_k), dim=1)
        l_pos = torch.einsum("nc,nc->n", [q, k]).unsqueeze(-1)
        l_neg = torch.einsum("nc,ck->nk", [q, self.queue.clone().detach()])
        logits = torch.cat([l_pos, l_neg], dim=1) / self.T
        labels = torch.zeros(logits.shape[0], dtype=torch.long)
        self._dequeue_and_enqueue(k)
        return logits, labels


def small_encoder(dim):
    return nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, dim))


torch.manual_seed(4)
prototypes = torch.randn(10, 20)
data = prototypes[torch.randint(0, 10, (640,))] + 0.5 * torch.randn(640, 20)
loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True, drop_last=True)
model = MoCo(small_encoder)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(
    [p for p in model.parameters() if p.requires_grad], lr=0.06, momentum=0.9, weight_decay=1e-4
)

for epoch in range(6):
    model.train()
    losses, top1, n = 0.0, 0, 0
    for images in loader:
        output, target = model(
            im_q=images + 0.2 * torch.randn_like(images), im_k=images + 0.2 * torch.randn_like(images)
        )
        loss = criterion(output, target)
        losses += loss.item() * images.size(0)
        top1 += (output.argmax(1) == target).sum().item()
        n += images.size(0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"Epoch: [{epoch}] Loss {losses / n:.4f} Acc@1 {100 * top1 / n:6.2f}")
