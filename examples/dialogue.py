"""What does a person want, and which words say with what: one model for intents and slots.

    python examples/dialogue.py
    python examples/dialogue.py --requests DATA/snips

A folder of requests has a folder for each split, with seq.in, seq.out and label. Without it the rows are generated, and
forms and names in test are new; without --model it uses the embedded MiniLM.
"""

import argparse

import reasoner


def understand(data: object, arguments: argparse.Namespace) -> None:
    """Train on intents and slots together, and print what is understood."""
    result = reasoner.fine_tune(
        arguments.model,
        data,
        task="intent_and_slots",
        output_dir=f"{arguments.output}/requests",
        num_train_epochs=arguments.epochs,
        learning_rate=3e-4,
        seed=arguments.seed,
    )
    print(result.report())
    for request in ("play some jazz by Maria Silva", "book a table for four people in Oslo on Monday"):
        found = result.predict(request)
        slots = ", ".join(f"{slot['word']} ({slot['entity_group']})" for slot in found["slots"])
        print(f"{request}  ->  {found['intent']['label']} ({found['intent']['score']:.2f}): {slots or 'no slots'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--requests", help="folder with train, dev and test")
    parser.add_argument("--rows", type=int, default=600, help="generated requests to learn from")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--output", default="output/dialogue", help="folder for the models")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    understand(
        arguments.requests or reasoner.synthetic.intent_and_slots_pack(train=arguments.rows, seed=arguments.seed),
        arguments,
    )


if __name__ == "__main__":
    main()
