"""Builds small random checkpoints, model and tokenizer, in the layout of the real ones: what do tests load?

The tokenizers are trained here, in memory, on the sentences below, and wrapped in the class that the real
checkpoints of the architecture use, so that special tokens, offsets and token types behave as theirs do.
"""

from __future__ import annotations

import json
import math
import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerBase

VOCABULARY = 600
HEADS = 2
BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")

CORPUS = tuple(
    """\
The old harbour of Lisbon was quiet when the morning ferry came in.
Maria Silva has worked at the Central Bank of Chile since 2009.
Nobody in the village had ever seen such heavy snow in April.
Three of the seven engineers left the company last year.
Where did the committee meet before the building was sold?
Dr. Anna Berg said that the new drug does not cure the disease.
All of the children were playing football near the river.
Some of the children were not playing at all.
The museum, which opened in 1894, holds more than 12,000 paintings.
John Carter and his sister Emily moved from Boston to Nairobi.
A black dog is running along the beach with a red ball.
No animal was on the beach that day.
The price of wheat rose by 4.5% in March and fell by 2.1% in June.
Who wrote the letter that was found in the library of Vienna?
It was not written by the king but by one of his ministers.
Samsung and Nokia signed an agreement in Seoul on Monday.
The train to Prague leaves at 7:45 and arrives at noon.
Every student who passed the exam received a small gift.
Most students passed; a few did not.
The river Danube flows through ten countries and into the Black Sea.
My uncle repaired the clock, so it works again.
If it rains tomorrow, the match between Ajax and Porto will be cancelled.
She bought two apples, five oranges and a loaf of bread.
He was born in Kyoto, studied in Paris and died in Buenos Aires.
What is the capital of the province where the lake lies?
The lake lies in the north of Ontario, far from any town.
A man in a blue shirt is cooking dinner for his family.
A person is preparing a meal.
The woman is sleeping on a bench in the park.
The treaty was signed in 1648 and ended a war of thirty years.
Steam engines changed the way in which people travelled.
How many people lived in the city in 1950?
About 340,000 people lived there, twice as many as before the war.
The University of Oslo gave the prize to Professor Ibrahim Khan.
Both teams were tired, yet neither wanted to stop.
The cell wall protects the plant from bacteria and fungi.
Water boils at a lower temperature on high mountains.
The red box is heavier than the green box, and the green box is heavier than the blue one.
Therefore the red box is the heaviest of the three.
Peter is the father of Laura, and Laura is the mother of Tom.
So Peter is the grandfather of Tom.
Twitter users in Jakarta complained about the "longest queue ever".
The film "Winter Light" was shown at the festival in Toronto.
I can't believe that they've closed the shop on Baker Street!
Tickets cost $15 for adults and $8 for children under 12.
The European Parliament voted against the law on Thursday.
Amina's brother plays the violin in the Berlin orchestra.
A small boat carried the doctors across the bay at night.
Why was the bridge closed to lorries in the summer of 2016?
The bridge was closed because its northern pillar had cracked.
Farmers in Kenya grow tea, coffee and maize.
Only two of the five wells still give clean water.
The company, Green Valley Foods Ltd., employs 230 people in Leeds.
An email was sent to info@example.org with the #results attached.
The teacher asked whether anyone had read the second chapter.
Several musicians are standing on a stage in front of a crowd.
The stage is empty and the crowd has gone home.
The judge found that the contract had never been valid.
Quick brown foxes jump over the lazy dogs of Zurich.
Mount Elbrus is the highest mountain in Russia and in Europe.
After the storm, workers of the Red Cross handed out blankets and food.
Next week the president will visit Ghana, Togo and Benin.""".splitlines()
)


@dataclass(frozen=True)
class _Architecture:
    tokenizer_class: str
    algorithm: str
    """wordpiece, bytes (byte-level BPE) or unigram."""
    specials: tuple[str, ...]
    """The special tokens in the order of their ids."""
    config: dict[str, Any] = field(default_factory=dict)
    """What the architecture's published configurations set, other than sizes."""
    unused_positions: int = 0
    """Rows of the position table that no token uses: RoBERTa counts positions from its padding id + 1."""
    size_names: dict[str, str] = field(default_factory=dict)
    """What the configuration calls its sizes, where it differs from BERT's."""


_ARCHITECTURES = {
    "bert": _Architecture("BertTokenizer", "wordpiece", BERT_SPECIALS),
    "roberta": _Architecture(
        "RobertaTokenizer",
        "bytes",
        ROBERTA_SPECIALS,
        {"type_vocab_size": 1, "layer_norm_eps": 1e-5},
        unused_positions=2,
    ),
    "distilbert": _Architecture(
        "DistilBertTokenizer",
        "wordpiece",
        BERT_SPECIALS,
        size_names={"hidden": "dim", "layers": "n_layers", "heads": "n_heads", "feed_forward": "hidden_dim"},
    ),
    "electra": _Architecture("BertTokenizer", "wordpiece", BERT_SPECIALS),
    "deberta-v2": _Architecture(
        "DebertaV2Tokenizer",
        "unigram",
        ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"),
        {
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 32,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
        },
    ),
    "modernbert": _Architecture(
        "PreTrainedTokenizerFast",
        "bytes",
        ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"),
        {"local_attention": 16},
    ),
    "xlm-roberta": _Architecture(
        "XLMRobertaTokenizer",
        "unigram",
        ROBERTA_SPECIALS,
        {"type_vocab_size": 1, "layer_norm_eps": 1e-5},
        unused_positions=2,
    ),
    "gpt2": _Architecture(
        "GPT2Tokenizer",
        "bytes",
        ("<|endoftext|>",),
        size_names={
            "hidden": "n_embd",
            "layers": "n_layer",
            "heads": "n_head",
            "feed_forward": "n_inner",
            "positions": "n_positions",
        },
    ),
    "llama": _Architecture(
        "PreTrainedTokenizerFast",
        "bytes",
        ("<|im_start|>", "<|im_end|>"),
        {"num_key_value_heads": 1, "tie_word_embeddings": True},
    ),
    "t5": _Architecture(
        "T5Tokenizer",
        "unigram",
        ("<pad>", "</s>", "<unk>"),
        {"decoder_start_token_id": 0},
        size_names={
            "hidden": "d_model",
            "layers": "num_layers",
            "heads": "num_heads",
            "feed_forward": "d_ff",
            "positions": "n_positions",
        },
    ),
    "bart": _Architecture(
        "BartTokenizer",
        "bytes",
        ROBERTA_SPECIALS,
        {"decoder_start_token_id": 2},
        size_names={
            "hidden": "d_model",
            "layers": "encoder_layers",
            "heads": "encoder_attention_heads",
            "feed_forward": "encoder_ffn_dim",
        },
    ),
}

DECODERS = ("gpt2", "llama")
ENCODER_DECODERS = ("t5", "bart")
ARCHITECTURES = tuple(name for name in _ARCHITECTURES if name not in (*DECODERS, *ENCODER_DECODERS))
"""The encoders."""


def build_tiny(
    architecture: str,
    folder: Path,
    *,
    seed: int = 0,
    width: int = 32,
    layers: int = 2,
    max_length: int = 128,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a random model without a head, and its tokenizer, to `folder`, and return the folder.

    As with the real ones, GPT-2 has no padding token, Llama (here as SmolLM2: more heads for queries than for keys, the
    end token pads) no bias, RoBERTa's and ModernBERT's tokenizers put no space before
    the first word, and ModernBERT's offsets begin at the space before a word. Unlike the real ones, XLM-RoBERTa's
    does not normalise characters.

    Args:
        architecture: one of `ARCHITECTURES`, `DECODERS` or `ENCODER_DECODERS`.
        folder: where to write; it is made when it is missing.
        seed: of the weights. The tokenizer does not depend on it. The caller's random state is left as it was.
        width: of the hidden states; the feed-forward layers are twice as wide.
        layers: how many.
        max_length: the longest input in tokens, special tokens included.
        dtype: of the saved weights.
    """
    tokenizer = _tokenizer(architecture, max_length)
    config = _config(architecture, tokenizer, width, layers, max_length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(config, dtype=torch.float32)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def _config(architecture: str, tokenizer: PreTrainedTokenizerBase, width: int, layers: int, max_length: int) -> Any:
    known = _ARCHITECTURES[architecture]
    names = {"hidden": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads"}
    names |= {"feed_forward": "intermediate_size", "positions": "max_position_embeddings"} | known.size_names
    sizes = {
        names["hidden"]: width,
        names["layers"]: layers,
        names["heads"]: HEADS,
        names["feed_forward"]: 2 * width,
        names["positions"]: max_length + known.unused_positions,
    }
    if architecture == "t5":
        sizes["d_kv"] = width // HEADS
    if architecture == "bart":
        sizes |= {name.replace("encoder", "decoder"): size for name, size in sizes.items() if "encoder" in name}
    if architecture == "electra":
        sizes["embedding_size"] = width // 2  # narrower than the layers, as in electra-small
    return AutoConfig.for_model(
        architecture, vocab_size=len(tokenizer), **sizes, **_token_ids(architecture, tokenizer), **known.config
    )


def _token_ids(architecture: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The ids that this architecture's configuration names, and no others."""
    usual = AutoConfig.for_model(architecture)
    stand_in = {"bos": "cls", "eos": "sep"}  # ModernBERT's begin and end are its [CLS] and [SEP]
    ids = {}
    for name in ("pad", "bos", "eos", "cls", "sep"):
        if getattr(usual, f"{name}_token_id", None) is not None:
            own = getattr(tokenizer, f"{name}_token_id")
            ids[f"{name}_token_id"] = getattr(tokenizer, f"{stand_in[name]}_token_id") if own is None else own
    return ids


def _tokenizer(architecture: str, max_length: int) -> PreTrainedTokenizerBase:
    known = _ARCHITECTURES[architecture]
    if architecture == "modernbert":
        return _modernbert_tokenizer(known.specials, max_length)
    if architecture == "llama":
        return _llama_tokenizer(known.specials, max_length)
    settings = {"wordpiece": _wordpiece, "bytes": _bytes, "unigram": _unigram}[known.algorithm](known.specials)
    return getattr(transformers, known.tokenizer_class)(**settings, model_max_length=max_length)


def _wordpiece(specials: tuple[str, ...]) -> dict[str, Any]:
    """Byte-pair pieces, each once for a word's start and once for its inside.

    The WordPiece trainer breaks ties by hash order, so that no two runs would have the same vocabulary.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = string.ascii_lowercase + string.digits + string.punctuation
    model = _trained(tokenizer, trainers.BpeTrainer, VOCABULARY // 2, initial_alphabet=sorted(alphabet))
    pieces = sorted(model["vocab"])
    tokens = (*specials, *pieces, *(f"##{piece}" for piece in pieces))
    return {"vocab": {token: number for number, token in enumerate(tokens)}}


def _bytes(specials: tuple[str, ...]) -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = _trained(tokenizer, trainers.BpeTrainer, special_tokens=list(specials), initial_alphabet=alphabet)
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


def _unigram(specials: tuple[str, ...]) -> dict[str, Any]:
    """The trainer's pieces, sorted and scored here by how often they occur: its own scores differ from run to run."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    alphabet = sorted(string.ascii_letters + string.digits + string.punctuation)
    model = _trained(tokenizer, trainers.UnigramTrainer, unk_token="<unk>", initial_alphabet=alphabet)
    text = "".join("▁" + sentence.replace(" ", "▁") for sentence in CORPUS)
    pieces = sorted(piece for piece, _ in model["vocab"] if piece != "<unk>")
    scores = [math.log(max(text.count(piece), 1) / len(text)) for piece in pieces]
    settings: dict[str, Any] = {"vocab": [*((token, 0.0) for token in specials), *zip(pieces, scores, strict=True)]}
    return settings | ({"unk_id": specials.index("[UNK]")} if "[UNK]" in specials else {})


def _trained(tokenizer: Tokenizer, trainer: type, vocab_size: int = VOCABULARY, **settings: Any) -> dict[str, Any]:
    """Train on the corpus and return the model's pieces."""
    tokenizer.train_from_iterator(CORPUS, trainer=trainer(vocab_size=vocab_size, show_progress=False, **settings))
    return json.loads(tokenizer.to_str())["model"]


def _modernbert_tokenizer(specials: tuple[str, ...], max_length: int) -> PreTrainedTokenizerBase:
    """Its checkpoints have no tokenizer class of their own: their tokenizer.json says everything."""
    tokenizer = Tokenizer(models.BPE(**_bytes(specials)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")},
    )


def _llama_tokenizer(specials: tuple[str, ...], max_length: int) -> PreTrainedTokenizerBase:
    """SmolLM2's: byte-level, no token before or after a text, and the end token for padding."""
    tokenizer = Tokenizer(models.BPE(**_bytes(specials)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    begin, end = specials
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **{"bos_token": begin, "eos_token": end, "unk_token": end, "pad_token": end},
    )
