"""The robustness card of a task, of a plain training and of those that learn edited copies of the rows as well.

    python benchmarks/robustness.py nli --data DATA/nli/snli --epochs 2
    python benchmarks/robustness.py ner --data DATA/ner/wnut17 --epochs 3

All sides have the same settings and the same seed. "augmented" learns a copy of each training row with one edit too, so
that an epoch has twice the steps; "consistent" reads such a copy, another one each epoch, beside each row, and is to
say the same of both, so that a step takes twice the time. The edits of the copies are those of the card, on other rows.
A model that says less flips less: with --caution one can see what that alone gives, at the same recall.
Trained models are kept in --output: started again, the script trains those that are missing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import workload

import reasoner

LENGTH = 128
SIDES = ("plain", "augmented", "consistent")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["ner", "nli"])
    parser.add_argument("--data", required=True, type=Path, help="folder of WNUT-17 or of the SNLI cut")
    parser.add_argument("--model", help="folder or Hub id; default: the embedded MiniLM")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--consistency", type=float, default=2.0, help="the weight of saying the same")
    parser.add_argument("--edits", nargs="+", help="names of the edits of the copies; default: all")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16, which some processors do faster")
    parser.add_argument("--caution", type=float, default=0.0,
                        help="ner: added to the logit of no entity once trained, so that less is said")  # fmt: skip
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("output") / "robustness")
    arguments = parser.parse_args()
    if arguments.caution and arguments.task != "ner":
        parser.error("--caution is for ner")

    import torch

    torch.set_num_threads(arguments.threads)
    splits = workload.read(arguments.task, arguments.data)
    cards = {side: card_of(side, splits, arguments) for side in arguments.sides}
    for side, card in cards.items():
        kept = "nothing said" if card.mean_kept is None else f"kept {card.mean_kept:.4f}"
        print(f"\n{side}: score {card.score:.4f}, mean flip rate {card.mean_flip_rate:.4f}, {kept}\n\n{card}")
        (arguments.output / f"{arguments.task}-{side}.json").write_text(json.dumps(card.to_dict(), indent=1))
    plain = cards.pop("plain", None)
    for side, card in cards.items() if plain else ():
        fewer = 1 - card.mean_flip_rate / plain.mean_flip_rate
        print(f"\n{side}: {fewer:.1%} fewer flips than plain, score {card.score - plain.score:+.4f}.")


def card_of(side: str, splits: dict, arguments: argparse.Namespace) -> reasoner.RobustnessCard:
    """Train, if that is not done, and measure."""
    of_sides = {"augmented": {"augmentation": 1}, "consistent": {"consistency": arguments.consistency}}
    settings = of_sides.get(side, {})
    named = "".join(f"-{value:g}" for value in settings.values())
    if settings and arguments.edits:
        settings = {**settings, "augmentation_edits": arguments.edits}
        named += "-" + "-".join(edit.replace(" ", "_") for edit in arguments.edits)
    named += "-bf16" if arguments.bf16 else ""
    folder = arguments.output / f"{arguments.task}-{side}{named}-{arguments.epochs}-epochs-seed-{arguments.seed}"
    if not (folder / "reasoner_config.json").exists():
        reasoner.fine_tune(
            arguments.model,
            splits,
            task=arguments.task,
            output_dir=folder,
            num_train_epochs=arguments.epochs,
            max_length=LENGTH,
            seed=arguments.seed,
            evaluate_before=False,
            use_cpu=True,
            bf16=arguments.bf16,
            disable_tqdm=True,
            **settings,
        )
    result = reasoner.load(folder, use_cpu=True)
    if arguments.caution:
        result.model.classifier.bias.data[result.run.labels.index("O")] += arguments.caution
    scores = result.evaluate(splits["test"])
    print(side, {name: round(scores[name], 4) for name in ("precision", "recall", "f1", "accuracy") if name in scores})
    return reasoner.robustness(result, splits["test"], seed=arguments.seed + 1)


if __name__ == "__main__":
    main()
