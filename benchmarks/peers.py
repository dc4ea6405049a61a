"""How do other libraries train on the same rows? Each as its documentation says, with equal settings.

Left out, because it does other work: SetFit (it has no token classification; for texts it trains on pairs of examples,
not on the rows); for qa, simpletransformers (it cuts windows in its own way) and skorch (it has no loss over two
positions of its own: what would be timed is the loop by hand).
"""

from __future__ import annotations

from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sides import Seen, Trained, linear, now, trainer_arguments, trainer_clock
from workload import WARMUP, WEIGHT_DECAY, Work, collate, encode, load_network, load_tokenizer


def train_simpletransformers(work: Work) -> Trained:
    """Train with `NERModel` or `ClassificationModel`: they pad every batch to the maximum length."""
    import pandas

    with TemporaryDirectory() as folder:
        settings = {
            "num_train_epochs": work.epochs,
            "train_batch_size": work.batch_size,
            "learning_rate": work.learning_rate,
            "warmup_ratio": WARMUP,
            "weight_decay": WEIGHT_DECAY,
            "max_seq_length": work.max_length,
            "manual_seed": work.seed,
            "do_lower_case": True,  # as the packaged MiniLM was trained
            "fp16": False,
            "no_save": True,
            "no_cache": True,
            "save_eval_checkpoints": False,
            "save_model_every_epoch": False,
            "reprocess_input_data": True,
            "overwrite_output_dir": True,
            "use_multiprocessing": False,
            "silent": True,
            "output_dir": folder,
            "cache_dir": folder,
        }
        if work.task == "ner":
            from simpletransformers.ner import NERModel

            words = [
                (number, word, tag)
                for number, row in enumerate(work.train)
                for word, tag in zip(row["tokens"], row["ner_tags"], strict=True)
            ]
            data = pandas.DataFrame(words, columns=["sentence_id", "words", "labels"])
            model = NERModel("bert", work.model, labels=work.names, args=settings, use_cuda=not work.use_cpu)
        else:
            from simpletransformers.classification import ClassificationModel

            pairs = [(row["premise"], row["hypothesis"], work.names.index(row["label"])) for row in work.train]
            data = pandas.DataFrame(pairs, columns=["text_a", "text_b", "labels"])
            model = ClassificationModel(
                "bert", work.model, num_labels=len(work.names), args=settings, use_cuda=not work.use_cpu
            )
        seen, clock = Seen(model.model), _Timed(model.train)
        model.train = clock  # `train_model` tokenises and then calls it
        steps, _ = model.train_model(data)
    return Trained(model.model, work.names, clock.seconds, steps, seen.tokens, seen.positions)


class _Timed:
    """Calls a function, and keeps how long that took."""

    def __init__(self, function: Any) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        started = now()
        given = self.function(*arguments, **named)
        self.seconds += now() - started
        return given


class _Logits(torch.nn.Module):
    """A transformers model as skorch wants it: tensors in, logits out, the labels at dimension 1."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, **inputs: Any) -> torch.Tensor:
        logits = self.network(**inputs).logits
        return logits.transpose(1, 2) if logits.ndim == 3 else logits  # (batch, labels) or (batch, labels, length)


def train_skorch(work: Work) -> Trained:
    """Train with `NeuralNet`, as its notebook on fine-tuning does, and batches padded to their longest."""
    from skorch import NeuralNet
    from skorch.callbacks import GradientNormClipping, LRScheduler

    network, tokenizer = load_network(work), load_tokenizer(work.model)
    seen = Seen(network)
    features = encode(work, work.train, tokenizer, work.names)
    steps = work.epochs * -(-len(features) // work.batch_size)

    def collated(rows: list[Any]) -> tuple[dict[str, Any], Any]:
        batch = collate(work, rows, tokenizer)
        labels = batch.pop("labels")
        return batch, labels

    net = NeuralNet(
        _Logits(network),
        criterion=torch.nn.CrossEntropyLoss,  # ignores -100
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=WEIGHT_DECAY,
        optimizer__param_groups=[(name, {"weight_decay": 0.0}) for name in ("*bias", "*LayerNorm*")],
        lr=work.learning_rate,
        max_epochs=work.epochs,
        batch_size=work.batch_size,
        iterator_train__shuffle=True,
        iterator_train__collate_fn=collated,
        train_split=None,
        callbacks=[
            LRScheduler(torch.optim.lr_scheduler.LambdaLR, lr_lambda=linear(steps), step_every="batch"),
            GradientNormClipping(1.0),
        ],
        device="cpu" if work.use_cpu else "cuda",
        verbose=0,
    ).initialize()
    torch.manual_seed(work.seed)
    fit = _Timed(partial(net.partial_fit, features, None))
    fit()
    made = sum(len(epoch["batches"]) for epoch in net.history)
    return Trained(net.module_.network, work.names, fit.seconds, made, seen.tokens, seen.positions)


def train_cross_encoder(work: Work) -> Trained:
    """Train with sentence-transformers' CrossEncoderTrainer, which tokenises each batch when it is needed."""
    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import CrossEntropyLoss
    from transformers import set_seed

    set_seed(work.seed)
    device = "cpu" if work.use_cpu else "cuda"
    model = CrossEncoder(work.model, num_labels=len(work.names), max_length=work.max_length, device=device)
    seen, clock = Seen(model.model), trainer_clock()
    columns = {name: [row[name] for row in work.train] for name in ("premise", "hypothesis")}
    labels = [work.names.index(row["label"]) for row in work.train]
    with TemporaryDirectory() as folder:
        trainer = CrossEncoderTrainer(
            model=model,
            args=trainer_arguments(work, folder, "random", kind=CrossEncoderTrainingArguments),
            train_dataset=Dataset.from_dict({**columns, "label": labels}),
            loss=CrossEntropyLoss(model),
            callbacks=[clock],
        )
        trainer.train()
    made = trainer.state.global_step
    return Trained(model.model, work.names, clock.ended - clock.begun, made, seen.tokens, seen.positions)
