# needs: transformers
"""Fine-tune a tiny BERT from its config with the Hugging Face Trainer."""

import os
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed


class Keywords(Dataset):
    """Label 1 when the word 7 occurs."""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for i in range(n):
            length = int(torch.randint(5, 12, (1,), generator=g))
            words = torch.randint(8, 40, (length,), generator=g)
            if i % 2:
                words[torch.randint(0, length, (1,), generator=g)] = 7
            ids, mask = torch.zeros(12, dtype=torch.long), torch.zeros(12, dtype=torch.long)
            ids[:length], mask[:length] = words, 1
            self.items.append({"input_ids": ids, "attention_mask": mask, "labels": i % 2})

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def compute_metrics(prediction):
    logits, labels = prediction
    return {"accuracy": float((np.argmax(logits, -1) == labels).mean())}


def main():
    set_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    model = BertForSequenceClassification(config)
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder,
            num_train_epochs=3,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=50,
            learning_rate=5e-3,
            warmup_steps=5,
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(
            model, args, train_dataset=Keywords(320, 0), eval_dataset=Keywords(100, 1), compute_metrics=compute_metrics
        )
        trainer.train()
        print("final", round(trainer.evaluate()["eval_accuracy"], 4))


if __name__ == "__main__":
    main()
