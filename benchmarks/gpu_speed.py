"""How fast is training on a GPU? The shape of bert-base, bfloat16, sequences as long as those of real data.

    python benchmarks/gpu_speed.py ner --data DATA/ner/wnut17
    python benchmarks/gpu_speed.py qa --data DATA/qa/squad2/half-dev-v2.0.json

The weights are random (nothing is downloaded), so scores mean nothing and are not shown; the token ids are those of the
real texts, by the packaged tokenizer, whose vocabulary is bert-base's. Without a CUDA device it stops with one line;
`--device cpu --steps 2 --layers 1` goes the same way on any machine (then the sides see other rows).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import alternating
import train_speed
import workload

SIDES = ("reasoner", "trainer-by-length", "trainer", "by-hand")
COLUMNS = tuple(column for column in train_speed.COLUMNS if column.key != "score")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["ner", "qa"])
    workload.add_arguments(parser)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--layers", type=int, default=12)
    alternating.add_arguments(parser, SIDES)
    parser.set_defaults(rows="all", test_rows="8", epochs=2, batch_size=32)
    arguments = parser.parse_args()
    folder = arguments.output.parent / f"{arguments.output.stem}_bert_{arguments.layers}"
    if arguments.side == "reasoner-prepare":
        print(json.dumps({"refused": prepare(arguments, folder)}))
    elif arguments.side:
        alternating.answer(arguments, lambda given: run(given, folder))
    else:
        refused = (alternating.start("reasoner-prepare", 0, arguments.threads) or {}).get("refused")
        if refused:
            raise SystemExit(refused)
        sides = arguments.sides or SIDES
        rows = alternating.run_all(arguments, sides)
        print("\n" + alternating.machine_line(rows, arguments.threads))
        print(f"{arguments.layers} layers of bert-base's shape, bfloat16, the whole loop with its first steps.\n")
        print(alternating.table(rows, COLUMNS, timed="training_seconds", sides=sides) + "\n")
        print(*(line for key in train_speed.EQUAL for line in alternating.unequal(rows, key)), sep="\n")
        for side in sides[1:]:
            times = [1 / ratio for ratio in alternating.ratios(rows, side, "tokens_per_second")]
            print(f"Tokens a second, reasoner to {side}: {alternating.summary(times, '.2f')}.")


def prepare(arguments: argparse.Namespace, folder: Path) -> str | None:
    """Write the model with its tokenizer if it is not there; where there is no such device, return a word on it."""
    import torch
    import transformers

    if arguments.device == "cuda" and not torch.cuda.is_available():
        return (
            "There is no CUDA device here, and nothing was run. To try the script: --device cpu --steps 2 --layers 1."
        )
    if not (folder / "config.json").exists():
        tokenizer = transformers.AutoTokenizer.from_pretrained(workload.default_model())
        transformers.set_seed(0)
        config = transformers.BertConfig(vocab_size=len(tokenizer), num_hidden_layers=arguments.layers)
        tokenizer.save_pretrained(folder)
        transformers.BertModel(config).save_pretrained(folder)
    return None


def run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train as one side does."""
    work = workload.make_work(
        arguments, arguments.task, model=str(folder), bf16=True, use_cpu=arguments.device == "cpu"
    )
    return train_speed.run(arguments.side, work)


if __name__ == "__main__":
    main()
