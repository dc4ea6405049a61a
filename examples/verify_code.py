"""Several answers to each question, as a model might give them: which are right, and what are votes and tries worth?

    python examples/verify_code.py --allow-execution

The rows are below, in the shape of MBPP; no model is needed. Without --allow-execution no program is run.
What holds a program that nobody has read: docs/verifiers.md.
"""

import argparse

from reasoner.metrics import sampling_scores
from reasoner.verifiers import Code, Number

ROWS = [
    {"text": "Write a function to double a number.", "test_list": ["assert double(2) == 4", "assert double(3) == 6"]},
    {"text": "Write a function to find the largest.", "test_list": ["assert largest([9, 3]) == 9"]},
]
PROGRAMS = [
    [
        "def double(x):\n    return 2 * x",
        "def double(x):\n    return x ** 2",
        "def double(x):\n    raise SystemExit(0)",
    ],
    [
        "Sure:\n```python\ndef largest(x):\n    return max(x)\n```",
        "def largest(x):",
        "def largest(x):\n    return x[1]",
    ],
]
SUMS = [("What is 1/4 + 1/4?", "1/2", ["#### 0.5", "The answer is 2/8.", "It is \\boxed{\\frac{1}{2}}."])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--allow-execution", action="store_true", help="run the programs above")
    parser.add_argument("--workers", type=int, default=2, help="how many programs run at a time")
    arguments = parser.parse_args()
    number = Number()
    for question, gold, texts in SUMS:
        right = [number(text, gold).correct for text in texts]
        print(question, right, sampling_scores([number.groups(texts)], [right], ks=(1, 3)))
    if not arguments.allow_execution:
        print("No program was run: pass --allow-execution.")
        return
    code = Code(allow_execution=True)
    judged = []
    for row, programs in zip(ROWS, PROGRAMS, strict=True):
        verdicts = code.verify(programs, [row] * len(programs), workers=arguments.workers)
        judged.append([verdict.correct for verdict in verdicts])
        for verdict in verdicts:
            print(f"{row['text']} {verdict.outcome}. {verdict.reason}")
    print(sampling_scores([code.groups(programs) for programs in PROGRAMS], judged, ks=(1, 3)))


if __name__ == "__main__":
    main()
