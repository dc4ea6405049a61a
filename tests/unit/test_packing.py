"""Does a batch without its padding give what the padded one gives: outputs, losses, gradients, weights?"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, MistralConfig, MistralModel

import reasoner
from own_head import OwnLayers
from reasoner import packing
from reasoner.evaluation import Encoded
from reasoner.methods.freeze import layers_of
from reasoner.methods.full import Full
from reasoner.methods.head import HeadOnly
from reasoner.model import TaskModel
from reasoner.notices import collect
from reasoner.packing import ATTENTION, LEAST_PADDING, packed, reason_to_pad, worth_packing
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.parts import cut
from reasoner.training.trainer import Trainer
from tiny import ARCHITECTURES

TASKS = ("ner", "classification", "nli", "qa", "multiple_choice")
PADDED = {"deberta-v2": "its attention is 'eager', and packing takes the place of 'sdpa'"}
"""Architectures that run padded, and why."""
PACKED = tuple(name for name in ARCHITECTURES if name not in PADDED)


@pytest.fixture(autouse=True)
def any_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack every batch that has any padding."""
    monkeypatch.setattr("reasoner.packing.LEAST_PADDING", 0.0)


def uneven_batch(predictor: Any, data: Encoded, *, side: str = "right", size: int = 8) -> Any:
    """Return a batch of the first rows, whatever their length."""
    predictor.tokenizer.padding_side = side
    batch = predictor.batches(Encoded(data.examples[:size], data.features[:size])).collate(
        list(range(sum(map(len, data.features[:size]))))
    )
    assert batch.positions > batch.tokens
    return batch


class Pass:
    """A batch run forward and back: outputs, loss, gradients, and what the first layer was given."""

    def __init__(self, model: TaskModel, batch: Any, *, packs: bool, checkpointed: bool = False) -> None:
        model.packs = packs
        model.zero_grad()
        self.seen: list[torch.Size] = []
        hook = layers_of(model.backbone)[0].register_forward_hook(
            lambda _, inputs, output: self.seen.append((output[0] if isinstance(output, tuple) else output).shape)
        )
        outputs = model(batch)
        hook.remove()
        loss = model.loss(outputs, batch)
        loss.mean.backward()
        mask = batch.inputs["attention_mask"].bool()
        self.outputs = {
            name: value[mask] if value.shape[:2] == mask.shape else value for name, value in outputs.items()
        }
        self.loss = loss
        self.gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}

    def assert_like(self, other: Pass, tolerance: float) -> None:
        for mine, its in ((self.outputs, other.outputs), (self.gradients, other.gradients)):
            assert mine.keys() == its.keys()
            for name, value in mine.items():
                if value is None or its[name] is None:  # a pooler that the head does not read
                    assert value is its[name] is None or not (value if its[name] is None else its[name]).any(), name
                else:
                    torch.testing.assert_close(value, its[name], rtol=tolerance, atol=tolerance, msg=name)
        torch.testing.assert_close(self.loss.total, other.loss.total, rtol=tolerance, atol=tolerance)


def compared(model: TaskModel, batch: Any, tolerance: float = 1e-5) -> None:
    """Run a batch both ways, and see that one was packed and that the outcomes are equal."""
    padded, packed_ = Pass(model, batch, packs=False), Pass(model, batch, packs=True)
    rows, length = batch.inputs["input_ids"].shape
    assert [tuple(shape[:2]) for shape in padded.seen] == [(rows, length)]
    assert [tuple(shape[:2]) for shape in packed_.seen] == [(1, batch.tokens)]
    packed_.assert_like(padded, tolerance)


@pytest.mark.parametrize(("task", "side"), [*((task, "right") for task in TASKS), ("ner", "left")])
@pytest.mark.parametrize("architecture", PACKED)
def test_outputs_and_gradients_are_those_of_padding(prepare: Any, architecture: str, task: str, side: str) -> None:
    predictor, data = prepare(task, architecture=architecture, sharp=True, dropout=0.0, packing=True)
    model = predictor.model.train()
    assert model.packs
    batch = uneven_batch(predictor, data, side=side)
    compared(model, batch)
    for name, tensor in batch.inputs.items():
        assert tensor.dtype == torch.long, name
    compared(model.double(), batch, 1e-9)


@pytest.mark.parametrize("task", ["ner", "classification"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_which_architectures_run_padded_and_why(prepare: Any, architecture: str, task: str) -> None:
    with collect() as said:
        predictor, _ = prepare(task, architecture=architecture, packing=True)
    assert predictor.model.packs == (architecture not in PADDED)
    reason = f"Batches are run with their padding: {PADDED.get(architecture)}."
    assert (reason in said) == (architecture in PADDED)
    with collect() as said:
        quiet, _ = prepare(task, architecture=architecture)
    assert quiet.model.packs == predictor.model.packs
    assert not [line for line in said if "padding" in line]
    assert not prepare(task, architecture=architecture, packing=False).predictor.model.packs


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("architecture", [*PACKED, "gpt2"])
@pytest.mark.parametrize("lengths", [(1, 9), (1, 1, 40, 3), (7, 1, 1), (40, 20, 1, 1, 1, 1)])
def test_rows_of_any_length(tiny_models: Any, lengths: tuple[int, ...], architecture: str, side: str) -> None:
    network = AutoModel.from_pretrained(tiny_models(architecture)).eval()
    assert reason_to_pad(network) == ""
    draw = torch.Generator().manual_seed(sum(lengths))
    ids = torch.randint(10, 200, (len(lengths), max(lengths)), generator=draw)
    place = torch.arange(max(lengths)) if side == "right" else torch.arange(max(lengths)).flip(0)
    mask = (place < torch.tensor(lengths)[:, None]).long()
    ids = ids.where(mask.bool(), network.config.pad_token_id or 0)
    states = network(input_ids=ids, attention_mask=mask).last_hidden_state
    with packed(network, mask, sum(lengths)):
        found = network(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(found[mask.bool()], states[mask.bool()], rtol=1e-5, atol=1e-5)
    assert not found[~mask.bool()].any()


@pytest.mark.parametrize(("architecture", "side"), [("modernbert", "right"), ("llama", "right"), ("llama", "left")])
def test_a_part_of_a_batch_attends_as_far_as_its_own_rows(
    prepare: Any, architecture: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, data = prepare("classification", architecture=architecture, sharp=True, dropout=0.0, packing=True)
    batch = uneven_batch(predictor, data, side=side)
    sizes = batch.inputs["attention_mask"].sum(1)
    part = cut(batch, sizes.argsort()[:3].tolist())
    longest, length = int(part.inputs["attention_mask"].sum(1).max()), batch.inputs["input_ids"].shape[1]
    assert part.positions == 3 * length > 3 * longest
    lengths, plain = [], packing._sdpa()

    def noting(module: Any, query: Any, *given: Any, **settings: Any) -> Any:
        lengths.append(query.shape[2])
        return plain(module, query, *given, **settings)

    monkeypatch.setattr(packing, "_sdpa", lambda: noting)
    model = predictor.model.eval()
    padded, packed_ = Pass(model, part, packs=False), Pass(model, part, packs=True)
    assert set(lengths) == {length, longest}
    packed_.assert_like(padded, 1e-5)


def test_a_row_attends_to_itself_alone(tiny_bert: Path) -> None:
    network = AutoModel.from_pretrained(tiny_bert).eval()
    assert reason_to_pad(network) == ""
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    ids = torch.tensor([[10, 11, 12, 0], [13, 14, 15, 16]])
    with packed(network, mask, 7):
        before = network(input_ids=ids, attention_mask=mask).last_hidden_state
        ids[1] += 20
        after = network(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(before[0], after[0]) and not torch.allclose(before[1], after[1])


def test_batches_without_padding_are_not_packed(prepare: Any) -> None:
    predictor, data = prepare("classification", packing=True)
    feature = data.features[0][0]
    batch = predictor.batches(Encoded([], [[feature]] * 3)).collate([0, 1, 2])
    seen = Pass(predictor.model, batch, packs=True).seen
    assert tuple(seen[0][:2]) == (3, len(feature))


@pytest.mark.parametrize(("tokens", "pays"), [(100, False), (96, False), (94, True), (1, True)])
def test_little_padding_stays(monkeypatch: pytest.MonkeyPatch, tokens: int, pays: bool) -> None:
    monkeypatch.setattr("reasoner.packing.LEAST_PADDING", LEAST_PADDING)
    assert worth_packing(100, tokens) == pays


@pytest.mark.parametrize("architecture", PACKED)
def test_dropout_is_drawn_anew_and_by_the_seed(prepare: Any, architecture: str) -> None:
    predictor, data = prepare("ner", architecture=architecture, sharp=True, dropout=0.3, packing=True)
    model, batch = predictor.model.train(), uneven_batch(predictor, data)

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([value.flatten() for value in Pass(model, batch, packs=True).gradients.values()])

    assert torch.equal(run(1), run(1))
    assert not torch.allclose(run(1), run(2))


@pytest.mark.parametrize("architecture", PACKED)
def test_gradient_checkpointing_computes_the_same(prepare: Any, architecture: str) -> None:
    predictor, data = prepare("ner", architecture=architecture, sharp=True, dropout=0.1, packing=True)
    model, batch = predictor.model.train(), uneven_batch(predictor, data)
    torch.manual_seed(3)
    whole = Pass(model, batch, packs=True)
    model.network.gradient_checkpointing_enable({"use_reentrant": False})
    torch.manual_seed(3)
    again = Pass(model, batch, packs=True)
    again.assert_like(whole, 1e-6)


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_in_bfloat16_it_is_as_near_to_float32_as_padding_is(prepare: Any, architecture: str) -> None:
    predictor, data = prepare("ner", architecture=architecture, dropout=0.0, packing=True)
    model, batch = predictor.model.train(), uneven_batch(predictor, data)
    exact = Pass(model, batch, packs=False).outputs["logits"]
    with torch.autocast("cpu", torch.bfloat16):
        padded, found = (Pass(model, batch, packs=packs).outputs["logits"] for packs in (False, True))
    assert (found - exact).abs().max() < 2 * (padded - exact).abs().max() + 1e-3


@pytest.mark.parametrize("task", TASKS)
def test_what_stands_at_padding_matters_to_no_head(prepare: Any, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, data = prepare(task, sharp=True, dropout=0.0, packing=True)
    model, batch = predictor.model.eval(), uneven_batch(predictor, data)

    @torch.no_grad()
    def run() -> tuple[Any, Any]:
        outputs = model(batch)
        return model.loss(outputs, batch), model.head.predict(outputs, batch)

    loss, records = run()
    from reasoner.packing import _spread

    def noisy(values: torch.Tensor, places: torch.Tensor, number: int) -> torch.Tensor:
        spread = _spread(values, places, number)
        there = torch.zeros(number, dtype=torch.bool).index_fill(0, places, True)
        return spread.where(there.view(-1, *[1] * (values.ndim - 1)), 7.0)

    monkeypatch.setattr("reasoner.packing._spread", noisy)
    noisy_loss, noisy_records = run()
    torch.testing.assert_close(noisy_loss.total, loss.total)
    assert str(predictor.task.decode(noisy_records, data.features[:8], data.examples[:8])) == str(
        predictor.task.decode(records, data.features[:8], data.examples[:8])
    )


@pytest.mark.parametrize("task", TASKS)
def test_training_gives_the_weights_of_padding(prepare: Any, task: str) -> None:
    weights = []
    for packs in (False, True):
        predictor, data = prepare(task, sharp=True, dropout=0.0, packing=packs)
        assert predictor.model.packs == packs
        Full().apply(predictor.model)
        settings = TrainingConfig(use_cpu=True, max_steps=4, learning_rate=1e-2, optim="sgd", bf16=False)
        batches = predictor.batches(data, batch_size=8, shuffle=True, seed=1)
        Trainer(
            predictor.model,
            batches,
            config=settings,
            evaluate=lambda: predictor.evaluate(data).metrics,  # noqa: B023
            stopping=EarlyStopping("loss", False, None, 0.0),
        ).train()
        weights.append(predictor.model.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_own_layers_run_on_packed_rows(prepare: Any, registry: Any) -> None:
    predictor, data = prepare("classification", sharp=True, dropout=0.0, packing=True)
    network = predictor.model.backbone
    head = OwnLayers(network.config, num_outputs=len(predictor.task.labels))
    model = TaskModel(deepcopy(network), head).train()
    compared(model, uneven_batch(predictor, data))


def test_states_are_kept_of_padded_rows(prepare: Any) -> None:
    from reasoner.frozen import keep_states

    predictor, data = prepare("ner", sharp=True, packing=True)
    HeadOnly().apply(predictor.model)
    splits = keep_states(predictor, {"train": data}, TrainingConfig(use_cpu=True, bf16=False))
    assert splits["train"].states is not None
    model = predictor.model.eval()
    rows: list[int] = []
    layers_of(model.backbone)[0].register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    first = predictor.evaluate(splits["train"])
    assert rows and min(rows) > 1  # a part of the layers must give again what it gave: rows as in the batch
    rows.clear()
    second = predictor.evaluate(splits["train"])
    assert rows == [] and second.predictions == first.predictions
    assert second.metrics["loss"] == pytest.approx(first.metrics["loss"], abs=1e-6)


def test_copies_pack_by_themselves(prepare: Any) -> None:
    predictor, data = prepare("ner", sharp=True, dropout=0.0, packing=True)
    compared(deepcopy(predictor.model).train(), uneven_batch(predictor, data))


def test_the_folder_knows_nothing_of_it(tiny_bert: Path, tmp_path: Path) -> None:
    rows = [{"text": " ".join(["river"] * (1 + index)), "label": "ab"[index % 2]} for index in range(12)]
    result = reasoner.fine_tune(
        tiny_bert,
        {"train": rows, "validation": rows[:4]},
        task="classification",
        output_dir=tmp_path,
        packing=True,
        max_steps=1,
        use_cpu=True,
        check=False,
        disable_tqdm=True,
    )
    model = result.predictor.model
    assert model.packs and model.network.config._attn_implementation == ATTENTION
    assert ATTENTION not in (tmp_path / "config.json").read_text("utf-8")
    assert "attn_implementation" not in " ".join(json.loads((tmp_path / "config.json").read_text("utf-8")))
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert plain.config._attn_implementation == "sdpa"
    loaded = reasoner.load(tmp_path, use_cpu=True)
    assert loaded.predictor.model.packs
    texts = [row["text"] for row in rows]
    for one, other in zip(loaded.predict(texts), result.predict(texts), strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)


def test_other_models_of_the_process_stay_as_they_are(prepare: Any, tiny_bert: Path) -> None:
    before = AutoModel.from_pretrained(tiny_bert)
    predictor, _ = prepare("ner", source=before, packing=True)
    after = AutoModel.from_pretrained(tiny_bert)
    assert predictor.model.packs
    assert before.config._attn_implementation == after.config._attn_implementation == "sdpa"
    assert "forward" not in vars(predictor.model.backbone)


def test_the_decision_leaves_mode_and_random_numbers_alone(prepare: Any) -> None:
    model = prepare("ner", packing=False).predictor.model
    HeadOnly().apply(model)
    for mode in (True, False):
        model.train(mode)
        modes = {name: module.training for name, module in model.named_modules()}
        torch.manual_seed(4)
        state = torch.get_rng_state()
        model.pack(True)
        assert torch.equal(torch.get_rng_state(), state)
        assert {name: module.training for name, module in model.named_modules()} == modes


# --- networks that must not be packed --------------------------------------------------------------------------------


def test_chosen_attention_is_kept(tiny_bert: Path) -> None:
    network = AutoModel.from_pretrained(tiny_bert, attn_implementation="eager").eval()
    assert "'eager'" in reason_to_pad(network)
    assert network.config._attn_implementation == "eager"


def test_rows_padded_on_the_left_stay_padded_unless_the_network_is_causal(tiny_models: Any) -> None:
    # The pooler of BERT reads the first position, and padding there has states too.
    assert "on the left" in reason_to_pad(AutoModel.from_pretrained(tiny_models("bert")).eval(), padding_side="left")
    assert reason_to_pad(AutoModel.from_pretrained(tiny_models("gpt2")).eval(), padding_side="left") == ""


def test_unknown_layers_run_padded(tiny_bert: Path) -> None:
    network = AutoModel.from_pretrained(tiny_bert).eval()
    network.config.layer_types = ["full_attention", "chunked_attention"]
    assert "chunked_attention" in reason_to_pad(network)


def test_the_trial_finds_a_network_that_mixes_rows(tiny_bert: Path) -> None:
    network = AutoModel.from_pretrained(tiny_bert).eval()
    network.encoder.layer[1].register_forward_hook(lambda _, __, output: output + output.mean(1, keepdim=True))
    assert "other hidden states" in reason_to_pad(network)
    assert network.config._attn_implementation == "sdpa"


def test_the_trial_finds_a_network_that_cannot_run(tiny_bert: Path) -> None:
    network = AutoModel.from_pretrained(tiny_bert).eval()

    def refuse(_: Any, inputs: Any, __: Any) -> None:
        if len(inputs[0]) == 1:
            raise ValueError("one row")

    network.encoder.layer[0].register_forward_hook(refuse)
    assert reason_to_pad(network) == "it does not run on packed rows (ValueError: one row)"
    assert network.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "asked", [{"output_hidden_states": True}, {"position_ids": torch.zeros(2, 4, dtype=torch.long)}]
)
def test_a_call_for_more_than_hidden_states_runs_padded(tiny_bert: Path, asked: dict[str, Any]) -> None:
    network = AutoModel.from_pretrained(tiny_bert).eval()
    assert reason_to_pad(network) == ""
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    inputs = {"input_ids": mask * 10, "attention_mask": mask, **asked}
    expected = network(**inputs)
    with packed(network, mask, 7):
        found = network(**inputs)
        other = network(input_ids=mask * 10, attention_mask=mask.clone())
    assert found.keys() == expected.keys() and torch.equal(found.last_hidden_state, expected.last_hidden_state)
    assert other.last_hidden_state[0, 3].any()  # a mask that is not the batch's


def decoder() -> Any:
    """Return a small causal network with grouped heads and a window."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    return MistralModel(MistralConfig(vocab_size=100, num_key_value_heads=2, sliding_window=4, **sizes)).eval()


def test_grouped_heads_and_windows_of_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason_to_pad(decoder()) == ""
    monkeypatch.setattr("reasoner.packing._seen", lambda mask, causal, window: mask)
    assert "other hidden states" in reason_to_pad(decoder())  # the trial's rows are longer than the window


# --- CUDA ------------------------------------------------------------------------------------------------------------


def attention_of_any_length(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    ends: torch.Tensor,
    key_ends: torch.Tensor,
    longest: int,
    longest_key: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """Do what the documentation says of torch.nn.attention.varlen.varlen_attn, row by row."""
    assert ends.dtype == torch.int32 and torch.equal(ends, key_ends) and ends[-1] == len(query)
    assert longest == longest_key >= int(ends.diff().max())
    assert enable_gqa or query.shape == key.shape
    rows = []
    for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        q, k, v = (part[start:end].transpose(0, 1) for part in (query, key, value))
        place = torch.arange(end - start)
        ahead = place - place[:, None]
        left, right = (end if size == -1 else size for size in window_size)
        mask = (ahead >= -left) & (ahead <= right)
        rows.append(
            torch.nn.functional.scaled_dot_product_attention(
                *(q, k, v), attn_mask=mask, scale=scale, enable_gqa=enable_gqa
            ).transpose(0, 1)
        )
    return torch.cat(rows)


@pytest.mark.parametrize("architecture", [*PACKED, "gpt2", "mistral"])
def test_the_kernel_is_asked_for_what_padding_computes(
    tiny_models: Any, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel itself needs CUDA: here a function with its documented meaning stands for it.
    monkeypatch.setattr("reasoner.packing._has_kernel", lambda query, settings: True)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", attention_of_any_length)
    network = decoder() if architecture == "mistral" else AutoModel.from_pretrained(tiny_models(architecture)).eval()
    assert reason_to_pad(network) == ""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_kernel_is_for_cuda(dtype: torch.dtype) -> None:
    from reasoner.packing import _has_kernel

    assert not _has_kernel(torch.zeros(1, dtype=dtype), {})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("architecture", [*PACKED, "gpt2"])
def test_attention_of_any_length_on_cuda(tiny_models: Any, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    own = packing._attend_at_any_length
    monkeypatch.setattr(packing, "_attend_at_any_length", lambda *inputs: calls.append(1) or own(*inputs))
    network = AutoModel.from_pretrained(tiny_models(architecture)).cuda().eval()
    assert reason_to_pad(network) == "" and calls
    ids = torch.randint(10, 200, (4, 40), device="cuda")
    mask = (torch.arange(40, device="cuda") < torch.tensor([40, 1, 17, 3], device="cuda")[:, None]).long()
    states, gradients = [], []
    for pack in (False, True):
        network.zero_grad()
        with torch.autocast("cuda", torch.bfloat16), packed(network, mask if pack else mask.clone(), 61):
            found = network(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()].float()
        found.square().sum().backward()
        states.append(found.detach())
        gradients.append(torch.cat([w.grad.flatten() for w in network.parameters() if w.grad is not None]))
    torch.testing.assert_close(states[1], states[0], rtol=5e-2, atol=5e-2)
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.999
