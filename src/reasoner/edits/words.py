"""Which names, places, contractions and sentences do the edits use? English, few, and yours to replace."""

from __future__ import annotations

FIRST_NAMES = (
    "Alice", "Amir", "Anna", "Antonio", "Ben", "Carlos", "Chen", "Clara", "Daniel", "Diego", "Elena", "Emily", "Fatima",
    "George", "Hannah", "Hiroshi", "Ivan", "James", "Jane", "John", "Julia", "Kofi", "Laura", "Lin", "Maria", "Michael",
    "Nadia", "Olga", "Omar", "Paul", "Peter", "Priya", "Rosa", "Samuel", "Sofia", "Thomas", "Victor", "Yuki", "Zainab",
)  # fmt: skip
"""Given names that are no common English words, so that a capitalised one is a name."""
PLACES = (
    "Amsterdam", "Athens", "Bangkok", "Berlin", "Boston", "Brazil", "Cairo", "Canada", "Chicago", "Denmark", "Egypt",
    "France", "Germany", "Ghana", "Helsinki", "India", "Italy", "Japan", "Kenya", "Lisbon", "London", "Madrid",
    "Mexico", "Morocco", "Mumbai", "Nairobi", "Norway", "Oslo", "Paris", "Peru", "Poland", "Prague", "Rome", "Seoul",
    "Spain", "Sweden", "Sydney", "Tokyo", "Toronto", "Vienna",
)  # fmt: skip
"""Cities and countries of one word each."""
CONTRACTIONS = {
    "are not": "aren't", "could not": "couldn't", "did not": "didn't", "do not": "don't", "does not": "doesn't",
    "had not": "hadn't", "has not": "hasn't", "have not": "haven't", "is not": "isn't", "should not": "shouldn't",
    "was not": "wasn't", "were not": "weren't", "would not": "wouldn't", "he is": "he's", "i am": "i'm",
    "it is": "it's", "she is": "she's", "that is": "that's", "there is": "there's", "they are": "they're",
    "we are": "we're", "what is": "what's", "you are": "you're",
}  # fmt: skip
"""Two words, and what they are contracted to."""
NUMBERS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12",
}  # fmt: skip
"""Numbers as words and as digits; not "one", which is often a pronoun."""
DISTRACTORS = (
    "The weather had been mild for most of the week.",
    "A quiet evening followed, as it often does.",
    "Some of the lights were still on.",
    "The road outside was wet from the rain.",
    "It was neither the first nor the last of its kind.",
    "Several people spoke about the garden later on.",
    "The old clock in the hall had stopped again.",
    "Nothing else of note was written down that day.",
)
"""Sentences that name nobody, count nothing, and have to do with nothing."""
ASIDES = ("and true is true", "and that is that", "as such things go", "and up is not down")
"""What may be put after a sentence without a change of its meaning; the first is that of Naik et al. (2018)."""
