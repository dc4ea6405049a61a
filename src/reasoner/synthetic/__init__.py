"""Which small task packs with known truth does the library ship? Seeded, sized by argument, made of our own words.

In every pack `validation` and `test` are drawn from words and templates that `train` never uses, so a good score needs
generalisation and not memory. Only the packs of reasoning-gym are drawn from its own generators.
"""

from __future__ import annotations

from reasoner.synthetic.batches import ner_batches
from reasoner.synthetic.choices import multiple_choice_pack
from reasoner.synthetic.contrasts import contrast_pack
from reasoner.synthetic.entities import ner_pack
from reasoner.synthetic.gym import reasoning_gym_pack
from reasoner.synthetic.heuristics import heuristics_pack
from reasoner.synthetic.inference import nli_pack
from reasoner.synthetic.links import link_prediction_pack
from reasoner.synthetic.nested import nested_ner_pack
from reasoner.synthetic.reading import qa_pack
from reasoner.synthetic.relations import relation_pack, told_world
from reasoner.synthetic.requests import dialogue_pack, intent_and_slots_pack
from reasoner.synthetic.stories import story_pack
from reasoner.synthetic.wording import generation_pack

__all__ = [
    "contrast_pack",
    "dialogue_pack",
    "generation_pack",
    "heuristics_pack",
    "intent_and_slots_pack",
    "link_prediction_pack",
    "multiple_choice_pack",
    "ner_batches",
    "ner_pack",
    "nested_ner_pack",
    "nli_pack",
    "qa_pack",
    "reasoning_gym_pack",
    "relation_pack",
    "story_pack",
    "told_world",
]
