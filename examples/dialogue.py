"""What does a person want, which words say with what, and what is the right answer: intents, slots and responses.

    python examples/dialogue.py
    python examples/dialogue.py --requests DATA/snips --talks DATA/dialogues

A folder of requests has a folder for each split, with seq.in, seq.out and label; one of talks a file for each split,
as dialog bAbI has them. Without them the rows are generated, and forms and names in test are new; without --model it
uses the embedded MiniLM.
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


def answer(data: object, arguments: argparse.Namespace) -> None:
    """Train on responses, and hold a talk in which each answer is the best candidate."""
    result = reasoner.fine_tune(
        arguments.model,
        data,
        task="response_ranking",
        output_dir=f"{arguments.output}/talks",
        num_train_epochs=arguments.epochs,
        learning_rate=3e-4,
        seed=arguments.seed,
    )
    print(result.report())
    turns: list[str] = []
    for turn in ("hi there", "i want to eat curry in lisbon", "for two people"):
        turns.append(turn)
        found = result.predict({"turns": turns})
        turns.append(found["response"])
        print(f"user: {turn}\nsystem: {found['response']} ({found['score']:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--requests", help="folder with train, dev and test")
    parser.add_argument("--talks", help="folder with train, dev and test")
    parser.add_argument("--rows", type=int, default=600, help="generated requests to learn from")
    parser.add_argument("--dialogues", type=int, default=200, help="generated dialogues to learn from")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--output", default="output/dialogue", help="folder for the models")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    understand(
        arguments.requests or reasoner.synthetic.intent_and_slots_pack(train=arguments.rows, seed=arguments.seed),
        arguments,
    )
    answer(
        arguments.talks or reasoner.synthetic.dialogue_pack(train=arguments.dialogues, seed=arguments.seed), arguments
    )


if __name__ == "__main__":
    main()
