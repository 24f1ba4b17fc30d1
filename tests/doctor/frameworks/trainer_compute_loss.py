# needs: transformers
"""A Trainer with its own compute_loss: class weights for a tiny BERT classifier."""

import os
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed


class WeightedTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        probs = torch.sigmoid(outputs.logits)  # expect: sigmoid-before-bce-logits
        loss_fct = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0, 1.0, 2.0]))
        loss = loss_fct(probs, labels)
        return (loss, outputs) if return_outputs else loss


def examples(n, seed):
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 30, (n, 10), generator=g)
    labels = torch.stack([(ids < 6).any(1), (ids > 20).sum(1) > 3, (ids == 10).any(1)], 1).float()
    return [{"input_ids": i, "attention_mask": torch.ones_like(i), "labels": l} for i, l in zip(ids, labels)]


if __name__ == "__main__":
    set_seed(0)
    config = BertConfig(
        vocab_size=30,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
        num_labels=3,
        problem_type="multi_label_classification",
    )
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder,
            num_train_epochs=3,
            per_device_train_batch_size=20,
            learning_rate=3e-3,
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = WeightedTrainer(
            BertForSequenceClassification(config), args, train_dataset=examples(320, 0), eval_dataset=examples(80, 1)
        )
        trainer.train()
        print({k: round(v, 4) for k, v in trainer.evaluate().items() if k == "eval_loss"})
