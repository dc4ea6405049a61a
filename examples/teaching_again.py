"""A model is taught batch after batch: what is forgotten, with and without old rows among the new ones?

    python examples/teaching_again.py
    python examples/teaching_again.py --data january march june --task ner

Each of the folders holds train, validation and test files, as fine_tune reads them. Without --data three generated
batches are used, each with a type of entity of its own; without --model the embedded MiniLM. See
docs/teaching_again.md.
"""

import argparse
from pathlib import Path

import reasoner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", help="folders with split files, in the order of time")
    parser.add_argument("--task", default="ner", help="of the data: ner, nli, classification, qa, multiple_choice")
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--output", default="output/teaching_again", help="folder for the models that are kept")
    arguments = parser.parse_args()

    if arguments.data:
        batches = {Path(folder).name: folder for folder in arguments.data}
    else:
        packs = reasoner.synthetic.ner_batches(train=60, validation=20, test=40)
        batches = {name: packs[name] for name in ("per", "loc", "org")}
    settings = {"task": arguments.task, "num_train_epochs": arguments.epochs, "learning_rate": 3e-4}
    taught = {}
    for name, protection in (("plain", None), ("replay", "replay")):
        folder = Path(arguments.output) / name
        taught[name] = reasoner.teach(arguments.model, batches, protection=protection, output_dir=folder, **settings)
        print(f"\n{taught[name]}\n")
    for name, found in taught.items():
        print(f"{name}: mean {found.metric} at the end {found.transfer.average:.4f}, "
              f"forgetting {found.transfer.forgetting:.4f}")  # fmt: skip
    print(f"The model that was taught all batches with old rows among the new ones: {taught['replay'].folders[-1]}")


if __name__ == "__main__":
    main()
