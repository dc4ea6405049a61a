"""How easily does a model change its mind, and does training on edited rows help?

    python examples/robustness.py
    python examples/robustness.py --data FOLDER --task ner

FOLDER holds train, validation and test files, as fine_tune reads them. Without it a small generated data set is used,
without --model the embedded MiniLM. See docs/robustness.md.
"""

import argparse

import reasoner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with split files, or a Hub id")
    parser.add_argument("--task", default="nli", help="of the data: ner, nli, classification, qa, multiple_choice")
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--output", default="output/robustness", help="folder for the model that is kept")
    arguments = parser.parse_args()

    data = arguments.data or getattr(reasoner.synthetic, f"{arguments.task}_pack")(train=400, validation=80, test=160)
    settings = {"task": arguments.task, "num_train_epochs": arguments.epochs, "evaluate_before": False}
    plain = reasoner.fine_tune(arguments.model, data, **settings)
    card = reasoner.robustness(plain, data)
    print(card)

    flipped = [outcome.name for outcome in card.outcomes if outcome.flips]
    if not flipped:
        print("\nNo edit changed any prediction: there is nothing to cure.")
        return
    cured = reasoner.fine_tune(
        arguments.model, data, augmentation=1, augmentation_edits=flipped, output_dir=arguments.output, **settings
    )
    after = reasoner.robustness(cured, data)
    print(f"\nTrained on a copy of each row with one edit as well ({', '.join(flipped)}):\n\n{after}")


if __name__ == "__main__":
    main()
