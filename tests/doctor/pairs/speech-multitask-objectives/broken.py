"""Phoneme and speaker recognition in one network; compute_objectives adds up the two losses.

Source: speechbrain/speechbrain#735
"""

import torch
import torch.nn.functional as F

torch.manual_seed(12)

hparams = {"lr": 5e-3, "epochs": 4, "batch": 32, "speaker_weight": 0.3}
phon_mean, spk_mean = torch.randn(10, 24), 0.7 * torch.randn(5, 24)


def synthesize(n):
    phon, spk = torch.randint(0, 10, (n,)), torch.randint(0, 5, (n,))
    return phon_mean[phon] + spk_mean[spk] + 0.6 * torch.randn(n, 24), phon, spk


class Brain:
    def __init__(self):
        self.trunk = torch.nn.Sequential(torch.nn.Linear(24, 48), torch.nn.LeakyReLU())
        self.phoneme = torch.nn.Linear(48, 10)
        self.speaker = torch.nn.Linear(48, 5)
        self.modules = torch.nn.ModuleList([self.trunk, self.phoneme, self.speaker])
        self.optimizer = torch.optim.AdamW(self.modules.parameters(), lr=hparams["lr"])

    def compute_forward(self, feats):
        h = self.trunk(feats)
        return {"phoneme": self.phoneme(h), "speaker": self.speaker(h)}

    def compute_objectives(self, predict, phon, spk):
        losses = {
            "phoneme": F.cross_entropy(predict["phoneme"], phon),
            "speaker": F.cross_entropy(predict["speaker"], spk) * hparams["speaker_weight"],
        }
        loss = torch.tensor([value.item() for value in losses.values()])  # expect: loss-detached
        return loss.sum().requires_grad_()  # expect: loss-detached

    def fit_batch(self, feats, phon, spk):
        self.optimizer.zero_grad()
        loss = self.compute_objectives(self.compute_forward(feats), phon, spk)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    @torch.inference_mode()
    def evaluate(self, feats, phon, spk):
        self.modules.eval()
        out = self.compute_forward(feats)
        acc = [(out[k].argmax(1) == t).float().mean().item() for k, t in (("phoneme", phon), ("speaker", spk))]
        self.modules.train()
        return acc


brain = Brain()
feats, phon, spk = synthesize(640)
test = synthesize(200)
for epoch in range(hparams["epochs"]):
    total = 0.0
    for idx in torch.randperm(640).split(hparams["batch"]):
        total += brain.fit_batch(feats[idx], phon[idx], spk[idx]).item() * len(idx)
    p, s = brain.evaluate(*test)
    print(f"epoch {epoch}: loss {total / 640:.4f} phoneme acc {p:.3f} speaker acc {s:.3f}")
