"""Let a model learn from texts without labels: their words, and which sentence comes first.

    python examples/self_supervision.py
    python examples/self_supervision.py --texts notes.txt --masking spans

A file of texts has one a line, or is a table with a column `text`; a line should have several sentences. Without one,
short stories are generated. Without --model it uses the embedded MiniLM. What comes of it is a folder to `fine_tune`
from.
"""

import argparse

import reasoner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", help="a file")
    parser.add_argument("--model", help="Hub id or folder of an encoder")
    parser.add_argument("--masking", default="words", choices=("tokens", "words", "spans"))
    parser.add_argument("--objective", default="sentence_order", choices=("sentence_order", "next_sentence"))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--output", default="output/self_supervision", help="folder for the models")
    arguments = parser.parse_args()
    texts = arguments.texts or reasoner.synthetic.story_pack(train=300)["train"]

    words = reasoner.pretrain(
        arguments.model,
        texts,
        output_dir=f"{arguments.output}/words",
        masking=arguments.masking,
        num_train_epochs=arguments.epochs,
    )
    print(words)
    for name, value in words.after.items():
        print(f"  {name:28}{value:10.3f}")

    pairs = reasoner.sentence_pairs(texts, arguments.objective)
    order = reasoner.fine_tune(
        words.folder,
        pairs,
        task="classification",
        output_dir=f"{arguments.output}/order",
        num_train_epochs=arguments.epochs,
        learning_rate=3e-4,
    )
    print(order.report())
    row = pairs["validation"][0]
    print(f"{row['text']} | {row['text_pair']}  ->  {order.predict((row['text'], row['text_pair']))['label']}")


if __name__ == "__main__":
    main()
