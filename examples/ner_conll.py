"""Train a named-entity recogniser on your own CoNLL files.

    python examples/ner_conll.py --train train.conll --validation dev.conll --test test.conll

Without files it trains on a small generated data set. Without --model it uses the embedded MiniLM.
"""

import argparse

import reasoner


def train(data: dict, *, model: str | None = None, output: str | None = None, **settings: object) -> reasoner.Result:
    defaults = {"num_train_epochs": 4, "learning_rate": 2e-4, "patience": 2}
    return reasoner.fine_tune(model, data, task="ner", output_dir=output, **{**defaults, **settings})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for split in ("train", "validation", "test"):
        parser.add_argument(
            f"--{split}", help="CoNLL file: one word and its tag a line, sentences parted by empty lines"
        )
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--output", default="output/ner", help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    files = {split: getattr(arguments, split) for split in ("train", "validation", "test")}
    data = {split: file for split, file in files.items() if file} or reasoner.synthetic.ner_pack()
    result = train(data, model=arguments.model, output=arguments.output, seed=arguments.seed)

    print(result.report())
    for entity in result.predict("Maria Schmidt flew from Lisbon to Nairobi to meet the board of Siemens."):
        print(f"{entity['start']:4} {entity['end']:4}  {entity['entity_group']:10} {entity['word']}")


if __name__ == "__main__":
    main()
