"""Let a model choose labels or answers before any training, alone or after a few solved examples.

    python examples/zero_shot.py
    python examples/zero_shot.py --data test.jsonl --task multiple_choice --model SmolLM2-135M-Instruct.Q4_1.gguf
    python examples/zero_shot.py --data test.jsonl --task nli --model DECODER --train train.jsonl --shots 6

Rows of files are those of the task. Without files it sorts a few sentences into topics; without --model the embedded
MiniLM does it, by the similarity of a sentence and a topic. With --shots the model must be a decoder, or with
--by setfit a sentence encoder.
"""

import argparse

import reasoner

TOPICS = {
    "sport": ["The goalkeeper saved two penalties in the final.", "She ran the marathon in under three hours."],
    "cooking": ["Fry the onions until they are golden.", "The soup needs more salt and a little lemon."],
    "weather": ["Heavy snow is expected in the mountains tonight.", "A storm brought rain to the whole coast."],
    "money": ["The bank raised its interest rate by half a point.", "Shares fell after the company cut its forecast."],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a file of rows with gold, in any format that reasoner reads")
    parser.add_argument("--task", default="classification", help="or multiple_choice, nli, relation")
    parser.add_argument("--model", help="Hub id, folder or GGUF file")
    parser.add_argument("--by", help="likelihood, entailment, similarity, cloze; with --shots setfit")
    parser.add_argument("--template", help="the text that asks, or what is said of a row")
    parser.add_argument("--train", help="a file of rows that solved examples are taken from")
    parser.add_argument("--shots", type=int, default=0, help="how many solved examples are shown, or learned from")
    parser.add_argument("--output", default="output/zero_shot", help="folder for the model")
    arguments = parser.parse_args()

    rows = [{"text": text, "label": topic} for topic, texts in TOPICS.items() for text in texts]
    settings = {"task": arguments.task, "template": arguments.template}
    if arguments.shots:
        splits = {"train": arguments.train or rows[::2], "test": arguments.data or rows[1::2]}
        settings |= {"by": arguments.by or "likelihood", "shots": arguments.shots}
        result = reasoner.few_shot(arguments.model, splits, **settings)
    else:
        result = reasoner.zero_shot(arguments.model, arguments.data or rows, by=arguments.by, **settings)
    result.save(arguments.output)

    print(result.report())
    if not arguments.data:
        for text in ("Whisk the eggs with the sugar.", "The striker was injured in training."):
            prediction = result.predict(text)
            print(f"{text}  ->  {prediction['label']} ({prediction['score']:.2f})")


if __name__ == "__main__":
    main()
