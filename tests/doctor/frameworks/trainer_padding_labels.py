# needs: transformers
"""Continue number sequences with a tiny GPT-2 trained by the Hugging Face Trainer."""

import os
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

PAD, VOCAB, LENGTH = 0, 24, 20


class Counting(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.rows = []
        for _ in range(n):
            length = int(torch.randint(6, 13, (1,), generator=g))
            steps = torch.randint(1, 4, (length,), generator=g)
            start = torch.randint(0, VOCAB - 1, (1,), generator=g)
            self.rows.append((start + steps.cumsum(0)) % (VOCAB - 1) + 1)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        row = self.rows[i]
        input_ids = torch.full((LENGTH,), PAD)
        input_ids[: len(row)] = row
        attention_mask = (torch.arange(LENGTH) < len(row)).long()
        labels = input_ids.clone()  # expect: padding-counted-in-loss
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


def main():
    set_seed(2)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB,
            n_positions=LENGTH,
            n_embd=32,
            n_layer=1,
            n_head=2,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=PAD,
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder,
            num_train_epochs=3,
            per_device_train_batch_size=16,
            learning_rate=5e-3,
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(model, args, train_dataset=Counting(320, 0), eval_dataset=Counting(80, 1))
        trainer.train()  # expect: padding-counted-in-loss
        print("eval loss", round(trainer.evaluate()["eval_loss"], 4))


if __name__ == "__main__":
    main()
