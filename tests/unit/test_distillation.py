"""Is what a student learns from its teacher what the paper writes, whatever tokenizer, windows and padding are?"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from reasoner.data.batching import Batches, padding_of
from reasoner.distillation import taught
from reasoner.errors import ConfigError
from reasoner.evaluation import Encoded
from reasoner.notices import collect
from reasoner.reports.run import Run
from reasoner.result import Result
from reasoner.tasks.classification import Classification
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nested_ner import NestedNER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from reasoner.training import parts
from reasoner.training.config import TrainingConfig
from reasoner.training.objective import Extras
from reasoner.training.trainer import Trainer

TASKS = {
    "nli": NLI(),
    "ner": NER(),
    "qa": QuestionAnswering(),
    "multiple_choice": MultipleChoice(),
    "multi": Classification(kind="multi"),
    "number": Classification(kind="number"),
}
WEIGHT, TEMPERATURE = 0.3, 3.0


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """`larger("roberta")` is the folder of a tiny model that is wider and deeper than the others."""
    from tiny import build_tiny

    made = {}

    def folder(architecture, **sizes):
        key = (architecture, *sizes.items())
        if key not in made:
            settings = {"seed": 7, "width": 48, "layers": 3, **sizes}
            made[key] = build_tiny(architecture, tmp_path_factory.mktemp("larger"), **settings)
        return made[key]

    return folder


def result_of(predictor) -> Result:
    run = Run(task="", model="large", method="Full()", primary_metric="", compared_split="")
    return Result(predictor, run)


def settings_for(predictor, **settings) -> TrainingConfig:
    common = {"use_cpu": True, "bf16": False, "learning_rate": 1e-3, "fast_dropout": False}
    return TrainingConfig(**common, teacher=result_of(predictor), **settings)


def gradients(predictor, data, config):
    """Return the gradient of the first batch's objective as the trainer computes it, and the loss it returns."""
    batches = predictor.batches(data, batch_size=8)
    table = predictor.model.network.get_input_embeddings()
    trainer = Trainer(predictor.model, batches, config=config, extras=Extras(table, data.teacher))
    trainer.model.train()
    trainer.optimizer.zero_grad()
    batch = next(iter(batches))
    (loss,) = trainer._micro_batches.run([batch], trainer.backward, trainer.optimizer.zero_grad)
    return {n: w.grad.clone() for n, w in predictor.model.named_parameters() if w.grad is not None}, loss, batch


def same(ours, theirs, tolerance=1e-6):
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        scale = max(1.0, theirs[name].abs().max().item())
        torch.testing.assert_close(gradient, theirs[name], rtol=tolerance, atol=tolerance * scale, msg=name)
    assert max(gradient.abs().max().item() for gradient in ours.values()) > 1e-4


def of_graph(model, total):
    weights = dict(model.named_parameters())
    found = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(weights, found, strict=True) if gradient is not None}


# --- by hand: each row of the student and of the teacher alone, without padding ---------------------------------------


def alone(predictor, feature):
    """Return the outputs for one feature, run by itself."""
    (batch,) = Batches([[feature]], 1, padding=padding_of(predictor.tokenizer))
    return predictor.model(batch)


def pairs(name, student, teacher, example, features, read):
    """Yield student's and teacher's logits of each softmax in an example, with the gold's place, the plain way."""
    if name == "ner":
        said = {}
        for feature in read:
            logits = alone(teacher, feature)["logits"][0]
            said |= {item.word: logits[item.token] for item in feature.info}
        for feature in features:
            logits = alone(student, feature)["logits"][0]
            yield from ((logits[item.token], said[item.word], feature.token_targets["labels"][item.token])
                        for item in feature.info)  # fmt: skip
    elif name == "multiple_choice":
        one, other = (torch.cat([alone(who, feature)["logits"].flatten() for feature in group])
                      for who, group in ((student, features), (teacher, read)))  # fmt: skip
        yield one, other, [feature.targets["labels"] for feature in features].index(1)
    elif name == "qa":
        for mine, theirs in zip(features, read, strict=True):
            one, other = alone(student, mine), alone(teacher, theirs)
            for side in ("start", "end"):
                yield one[f"{side}_logits"][0], other[f"{side}_logits"][0], mine.targets[f"{side}_positions"]
    else:
        one, other = (alone(who, *group)["logits"][0] for who, group in ((student, features), (teacher, read)))
        if name == "multi":
            for x, y, gold in zip(one, other, features[0].targets["labels"], strict=True):
                yield torch.stack([0 * x, x]), torch.stack([0 * y, y]), int(gold)
        else:
            yield one, other, features[0].targets["labels"]


def by_hand(name, student, teacher, examples, features, read):
    """(1 - w) of the cross-entropies and w T^2 KL(p || q), with p and q the softmaxes of logits over T."""
    total = torch.zeros((), dtype=torch.float64)
    for example, group, other in zip(examples, features, read, strict=True):
        for x, y, gold in pairs(name, student, teacher, example, group, other):
            y = y.detach()
            if name == "number":
                total = total + ((1 - WEIGHT) * (x - gold) ** 2 + WEIGHT * (x - y) ** 2).sum()
                continue
            q, p = (x / TEMPERATURE).softmax(0), (y / TEMPERATURE).softmax(0)
            apart = (p * (p / q).log()).sum()
            term = (1 - WEIGHT) * -x.softmax(0)[gold].log() + WEIGHT * TEMPERATURE**2 * apart
            total = total + (term / 2 if name == "qa" else term)
    return total


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("name", TASKS)
def test_the_gradient_is_the_formula(prepare, larger, name, in_file, tmp_path):
    """The teacher has another architecture, size and tokenizer, where the task allows it; NER in short windows."""
    limits = {"max_length": 16, "stride": 4} if name == "ner" else {}
    student, data = prepare(TASKS[name], dropout=0.0, sharp=True, **limits)
    teacher, _ = prepare(TASKS[name], source=larger("bert" if name == "qa" else "roberta"), sharp=True)
    student.model.double(), teacher.model.double()
    memory = {"frozen_cache_mb": 0, "feature_cache": str(tmp_path)} if in_file else {}
    config = settings_for(teacher, distillation_weight=WEIGHT, distillation_temperature=TEMPERATURE, **memory)
    if in_file:  # the student's features too, as for more rows
        data = student.encode(data.examples, cache=tmp_path)
    with collect() as said:
        known, told = taught(student, data, config)
    assert ("MB in a temporary file" in said[-1]) == in_file and "share of the loss is 0.3, at temperature 3" in said[
        -1
    ]
    assert told["teacher"].startswith("a result in memory, weights ")
    reference = replace(student, model=deepcopy(student.model).train())
    ours, loss, batch = gradients(student, known, config)
    rows = sorted({int(student.batches(data).example_of[index]) for index in batch.feature_index})
    if name == "ner":  # a batch may hold some windows of a text alone
        assert any(len(group) > 1 for group in data.features)
        chosen = [[f for i, f in enumerate(data.features[row], sum(map(len, data.features[:row])))
                   if i in batch.feature_index] for row in rows]  # fmt: skip
    else:
        chosen = [data.features[row] for row in rows]
    examples = [data.examples[row] for row in rows]
    total = by_hand(name, reference, teacher, examples, chosen, teacher.encode(examples).features)
    same(ours, of_graph(reference.model, total))
    plain = reference.model.loss(reference.model(batch), batch)  # the loss that is reported is the task's own
    torch.testing.assert_close(loss.total, plain.total.detach(), rtol=1e-6, atol=1e-6)
    nothing = of_graph(reference.model, plain.total)
    assert max((ours[key] - nothing[key]).abs().max().item() for key in ours) > 1e-3


def test_every_pass_of_a_step_has_the_teachers_share(prepare, larger):
    """Without dropout R-Drop's passes are one, and the attack's loss is that of the mixed objective."""
    student, data = prepare(NLI(), dropout=0.0, sharp=True, packing=False)
    teacher, _ = prepare(NLI(), source=larger("bert"), sharp=True)
    student.model.double(), teacher.model.double()
    mixed = {"distillation_weight": WEIGHT, "distillation_temperature": TEMPERATURE}
    known, _ = taught(student, data, settings_for(teacher))
    reference = deepcopy(student.model).train()
    twice, _, batch = gradients(deepcopy(student), known, settings_for(teacher, r_drop=2.0, **mixed))
    once, _, _ = gradients(deepcopy(student), known, settings_for(teacher, **mixed))
    same(twice, once, 1e-9)

    def objective(outputs):
        apart = reference.distillation(outputs, known.teacher(batch), batch, temperature=TEMPERATURE)
        return (1 - WEIGHT) * reference.loss(outputs, batch).total + WEIGHT * apart

    table = reference.network.get_input_embeddings().weight
    inputs = {name: value for name, value in batch.inputs.items() if name != "input_ids"}
    embedded = table[batch.inputs["input_ids"]]
    plain = objective({"logits": reference.network(inputs_embeds=embedded, **inputs).logits})
    (slope,) = torch.autograd.grad(plain, embedded, retain_graph=True)
    slope = slope * inputs["attention_mask"].unsqueeze(-1)
    moved = embedded + 0.4 * slope / slope.flatten(1).norm(dim=1)[:, None, None]
    total = plain + objective({"logits": reference.network(inputs_embeds=moved, **inputs).logits})
    attacked, _, _ = gradients(student, known, settings_for(teacher, adversarial_epsilon=0.4, **mixed))
    same(attacked, of_graph(reference, total), 1e-7)


# --- what is kept for a batch -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ner", "qa"])
def test_padding_on_either_side_gives_each_token_its_own(prepare, larger, name):
    student, data = prepare(TASKS[name])
    teacher, _ = prepare(TASKS[name], source=larger("bert"), sharp=True)
    known, _ = taught(student, data, settings_for(teacher))
    found = {}
    for side in ("left", "right"):
        (batch,) = Batches(data.features, len(data.features) * 4, padding=padding_of(student.tokenizer),
                           padding_side=side)  # fmt: skip
        mask = batch.inputs["attention_mask"].bool()
        for key, value in known.teacher(batch).items():
            assert value.shape[:2] == mask.shape and value[~mask].isnan().all()
            found[side, key] = torch.nan_to_num(value[mask], nan=-77.0)
    for key in {key for _, key in found}:
        assert torch.equal(found["left", key], found["right", key])
        assert (found["left", key] != -77.0).any()


def test_a_teacher_that_pads_on_the_left_says_the_same(prepare, larger):
    student, data = prepare(NER())
    teacher, _ = prepare(NER(), source=larger("llama"), sharp=True)
    batch = next(iter(student.batches(data)))
    said = []
    for side in ("left", "right"):
        teacher.tokenizer.padding_side = side
        teacher.model.pack(padding_side=side)
        assert len({len(group[0]) for group in teacher.encode(data.examples).features}) > 3  # or there is no padding
        said.append(taught(student, data, settings_for(teacher))[0].teacher(batch)["logits"])
    torch.testing.assert_close(*said, rtol=1e-4, atol=1e-4, equal_nan=True)
    assert said[0][~said[0].isnan()].std() > 0.1


@pytest.mark.parametrize("name", ["nli", "ner", "qa", "multiple_choice"])
def test_a_batch_in_parts_is_the_same(prepare, larger, name, monkeypatch):
    student, data = prepare(TASKS[name], dropout=0.0, sharp=True)
    teacher, _ = prepare(TASKS[name], source=larger("bert"), sharp=True)
    config = settings_for(teacher)
    known, _ = taught(student, data, config)
    whole, _, _ = gradients(deepcopy(student), known, config)
    monkeypatch.setattr(parts, "CACHED", 2_000)
    sizes, forward = [], student.model.forward
    student.model.forward = lambda batch: sizes.append(len(batch.feature_index)) or forward(batch)
    cut, _, _ = gradients(student, known, config)
    assert len(sizes) > 2
    same(cut, whole, 1e-5)


def test_a_teachers_labels_are_found_by_name(prepare, larger):
    student, data = prepare(NLI(), sharp=True)
    teacher, _ = prepare(NLI(), source=larger("bert"), sharp=True)
    order = [2, 0, 1]
    other = deepcopy(teacher)
    labels = tuple(teacher.task.labels[place] for place in order)
    other = replace(other, task=replace(teacher.task, labels=labels, label_names=teacher.task.labels))
    with torch.no_grad():
        for weight in other.model.network.classifier.parameters():
            weight.copy_(weight[order])
    batch = next(iter(student.batches(data)))
    one, two = (taught(student, data, settings_for(who))[0].teacher(batch)["logits"] for who in (teacher, other))
    torch.testing.assert_close(one, two)
    assert (one - one[:, order]).abs().max() > 0.1


def test_words_that_the_teacher_does_not_see_are_learned_from_gold_alone(prepare, larger):
    """BERT's tokenizer drops a zero-width space, so that it has no token for the word; RoBERTa's shows it."""
    rows = [{"tokens": ["Ada", "\u200b", "sang", "."], "ner_tags": ["B-NAME", "O", "O", "O"]}] * 8
    student, data = prepare(NER(), rows=rows, architecture="roberta", dropout=0.0, sharp=True)
    teacher, _ = prepare(NER(), rows=rows, source=larger("bert"), sharp=True)
    with collect() as said:
        known, _ = taught(student, data, settings_for(teacher))
    assert "teacher: 8 of 32 words are none to its tokenizer" in said[0]
    batch = next(iter(student.batches(known)))
    outputs = student.model(batch)
    logits = outputs["logits"].retain_grad() or outputs["logits"]
    student.model.distillation(outputs, known.teacher(batch), batch, temperature=2.0).backward()
    learned = logits.grad.abs().sum(-1) > 0
    tokens = {item.word: item.token for item in data.features[0][0].info}
    assert [bool(learned[0, tokens[word]]) for word in range(4)] == [True, False, True, True]
    assert learned.sum() == 3 * len(batch.feature_index)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (NLI(), NER(), "its task is NER, and this one NLI single"),
        (Classification(kind="multi"), Classification(), "its task is Classification single, and this one .* multi"),
        (NER(head="crf"), NER(head="crf"), "CRFHead has no distillation"),
        (NER(), NER(head="crf"), "its head is CRFHead, and this one TokenClassificationHead"),
        (NLI(head="own"), NLI(head="own"), "OwnLayers has no distillation"),
    ],
)
def test_another_task_or_head_is_refused(prepare, registry, student, teacher, message):
    import reasoner
    from own_head import OwnLayers

    reasoner.register_head("own", OwnLayers)
    mine, data = prepare(student)
    with pytest.raises(ConfigError, match=message):
        taught(mine, data, settings_for(prepare(teacher).predictor))


def test_the_span_head_is_refused(prepare):
    rows = [{"text": "Ada sang in Bonn .", "entities": [{"start": 0, "end": 3, "label": "NAME"}]}] * 4
    predictor, data = prepare(NestedNER(), rows=rows)
    with pytest.raises(ConfigError, match="SpanHead has no distillation"):
        taught(predictor, data, settings_for(predictor))


def test_other_labels_are_refused_and_named(prepare, rows_of):
    student, data = prepare(NLI())
    named = {"entailment": "yes", "neutral": "neutral", "contradiction": "no"}
    rows = [{**row, "label": named[row["label"]]} for row in rows_of("NLI")]
    with pytest.raises(ConfigError, match="teacher has: no, yes; only the data: contradiction, entailment"):
        taught(student, data, settings_for(prepare(NLI(), rows=rows).predictor))


def test_rows_that_the_teachers_task_cannot_read_are_refused(prepare, rows_of):
    student, data = prepare(NER())
    teacher = prepare(NER()).predictor
    bad = replace(data.examples[0], ner_tags=("X-",) * len(data.examples[0].tokens))
    with pytest.raises(ConfigError, match="teacher: its task reads these rows otherwise"):
        taught(student, Encoded([bad, *data.examples[1:]], data.features), settings_for(teacher))


def test_other_tokens_are_refused_where_they_are_what_is_learned(prepare, larger):
    student, data = prepare(QuestionAnswering())
    teacher, _ = prepare(QuestionAnswering(), source=larger("roberta"))
    with pytest.raises(ConfigError, match="its tokenizer cuts train, row 1 into other pieces"):
        taught(student, data, settings_for(teacher))


def test_a_teacher_that_takes_shorter_windows_is_refused(prepare, larger):
    student, data = prepare(QuestionAnswering())
    teacher, _ = prepare(QuestionAnswering(), source=larger("bert", max_length=64))
    with pytest.raises(ConfigError, match=r"it takes 64 tokens.* Give max_length=64"):
        taught(student, data, settings_for(teacher))


def test_what_takes_too_much_room_is_refused(prepare):
    predictor, data = prepare(NLI())
    with pytest.raises(ConfigError, match="frozen_cache_mb and frozen_cache_disk_mb"):
        taught(predictor, data, settings_for(predictor, frozen_cache_mb=0, frozen_cache_disk_mb=0))


def test_a_teacher_that_gives_no_numbers_is_refused(prepare):
    predictor, data = prepare(NLI())
    broken = deepcopy(predictor)
    with torch.no_grad():
        broken.model.network.classifier.bias.fill_(float("nan"))
    with pytest.raises(ConfigError, match="its outputs are not finite"):
        taught(predictor, data, settings_for(broken))


def test_the_trainer_must_know_what_the_teacher_says(prepare):
    predictor, data = prepare(NLI())
    with pytest.raises(ConfigError, match=r"Give Extras\(teacher"):
        gradients(predictor, data, settings_for(predictor))
