"""Stateful RNN over a long sensor stream, weights updated by hand after each chunk.

Source: pytorch/pytorch#2198
"""

import torch
import torch.nn as nn

torch.manual_seed(1)

T, CHUNK = 800, 20
drive = torch.randn(T, 1)
state, y = 0.0, []
for d in drive.flatten().tolist():  # a leaky integrator to be identified
    state = 0.8 * state + 0.3 * d
    y.append(state)
y = torch.tensor(y).unsqueeze(1)


class RNN(nn.Module):
    def __init__(self, hidden_size=10):
        super(RNN, self).__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(1 + hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, 1)

    def forward(self, x, h):
        out = []
        for t in range(x.size(0)):
            h = torch.tanh(self.i2h(torch.cat([x[t], h])))
            out.append(self.h2o(h))
        return torch.stack(out), h

    def initHidden(self):
        return torch.zeros(self.hidden_size)


rnn = RNN()
criterion = nn.MSELoss()
learning_rate = 0.1

hidden = rnn.initHidden()
for k in range(0, 600, CHUNK):
    rnn.zero_grad()
    output, hidden = rnn(drive[k : k + CHUNK], hidden.detach())
    loss = criterion(output, y[k : k + CHUNK])
    loss.backward()
    for p in rnn.parameters():
        p.data.add_(p.grad.data, alpha=-learning_rate)
    if k % 100 == 0:
        print("chunk %2d  loss %.4f" % (k // CHUNK, loss.item()))

rnn.eval()
with torch.no_grad():
    pred, _ = rnn(drive[600:], hidden)
    print("held out end of the stream: %.4f" % criterion(pred, y[600:]).item())
