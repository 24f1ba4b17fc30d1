# needs: transformers
"""Train a tiny GPT-2 from its config with the Trainer: accumulation, cosine schedule, padded batches."""

import os
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

VOCAB, LENGTH = 32, 16


def make(n, seed):
    g = torch.Generator().manual_seed(seed)
    data = []
    for _ in range(n):
        length = int(torch.randint(8, LENGTH + 1, (1,), generator=g))
        start = torch.randint(1, VOCAB, (1,), generator=g)
        steps = torch.randint(1, 3, (length,), generator=g)
        data.append((start + steps.cumsum(0)) % (VOCAB - 1) + 1)
    return data


def collate(sequences):
    ids = torch.zeros(len(sequences), LENGTH, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, s in enumerate(sequences):
        ids[row, : len(s)], mask[row, : len(s)] = s, 1
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


set_seed(1)
config = GPT2Config(
    vocab_size=VOCAB, n_positions=LENGTH, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0, pad_token_id=0
)
with tempfile.TemporaryDirectory() as folder:
    args = TrainingArguments(
        output_dir=folder,
        num_train_epochs=3,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        per_device_eval_batch_size=40,
        learning_rate=8e-3,
        lr_scheduler_type="cosine",
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        remove_unused_columns=False,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(
        GPT2LMHeadModel(config), args, train_dataset=make(320, 0), eval_dataset=make(80, 1), data_collator=collate
    )
    trainer.train()
    print("eval loss", round(trainer.evaluate()["eval_loss"], 4))
