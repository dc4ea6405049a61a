"""Is a loss or gradient that is no number caught at its step, with the right rows, before it touches a weight?"""

from __future__ import annotations

import json
import math
import pickle
import re
from copy import deepcopy

import pytest
import torch
from torch import nn

from reasoner.data.batching import Batches
from reasoner.data.features import Feature
from reasoner.errors import CheckpointError, DivergedError
from reasoner.losses import LossSum, grouped_cross_entropy, squared_error
from reasoner.notices import collect
from reasoner.training.config import TrainingConfig
from reasoner.training.guard import MOST_ROLLBACKS, LossWatch, replay
from reasoner.training.optimizer import DecoupledSGD
from reasoner.training.trainer import Trainer

NAN = float("nan")
WIDTH, TOKENS = 4, 30
RARE = 29
"""A token that stands in some rows only."""
SETTINGS = {
    "use_cpu": True, "bf16": False, "learning_rate": 0.01, "warmup_steps": 0, "lr_scheduler_type": "constant",
    "logging_steps": 1,
}  # fmt: skip


class Bag(nn.Module):
    """A linear model of the mean of the tokens' embeddings; `kind` says what may go wrong in it."""

    def __init__(self, kind="plain"):
        super().__init__()
        self.kind = kind
        self.embedding = nn.Embedding(TOKENS, WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH) if kind == "batch_norm" else nn.Identity()
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(WIDTH, 1)
        self.in_half = InHalf()
        self.spare = nn.Identity()

    def forward(self, batch):
        mask = batch.inputs["attention_mask"].unsqueeze(-1)
        hidden = (self.embedding(batch.inputs["input_ids"]) * mask).sum(1) / mask.sum(1)
        if self.kind == "root":  # a value of 0 has a gradient of infinity times 0
            return {"value": hidden.square().sum(-1).sqrt() + self.head(hidden.detach()).squeeze(-1)}
        rare = (batch.inputs["input_ids"] == RARE).any(-1)
        if self.kind == "spare":  # what is not finite here takes no part in the loss
            self.spare(torch.where(rare, NAN, -float("inf")))
        if self.kind == "four_rows" and len(hidden) != 4:
            raise ValueError("four rows, please")
        hidden = self.dropout(self.norm(hidden))
        if self.kind == "half":
            scale = torch.where(rare, 6e4, 1.0)
            return {"value": self.in_half(self.head(hidden).squeeze(-1), scale)}
        return {"value": self.head(hidden).squeeze(-1)}

    def loss(self, outputs, batch):
        if self.kind == "choices":
            return grouped_cross_entropy(outputs["value"], batch.targets["labels"], batch.group)
        return squared_error(outputs["value"], batch.targets["labels"])


class InHalf(nn.Module):
    """The output in half precision, as on a device that is told to."""

    def forward(self, values, scale):
        return (values + 3.0).half() * scale.half()


def bag(kind="plain"):
    torch.manual_seed(0)
    return Bag(kind)


def tokens_of(row):
    """Return a row's tokens: 1 to 5 of them; each seventh row holds the rare one."""
    tokens = [1 + (3 * row + place) % (RARE - 1) for place in range(1 + row % 5)]
    return [*tokens, RARE] if row % 7 == 3 else tokens


def batches(number=24, size=4, *, labels=None, choices=1, seed=0, tokens=tokens_of):
    """Return shuffled batches of as many rows, whose label is the number of their tokens unless `labels` says other."""
    groups = []
    for row in range(number):
        group = []
        for choice in range(choices):
            ids = tokens(row * choices + choice)
            gold = float(choice == row % choices) if choices > 1 else (labels or {}).get(row, float(len(ids)))
            group.append(Feature({"input_ids": ids, "attention_mask": [1] * len(ids)}, {"labels": gold}))
        groups.append(group)
    padding = {"input_ids": 0, "attention_mask": 0}
    return Batches(groups, size, padding=padding, keep_together=choices > 1, shuffle=True, seed=seed)


def trainer(model, made, *, output_dir=None, callbacks=(), **settings):
    watch = LossWatch(output_dir, describe=lambda batch: [f"row {made.example_of[i]}" for i in batch.feature_index])
    return Trainer(model, made, config=TrainingConfig(**{**SETTINGS, **settings}), watch=watch, callbacks=callbacks)


def diverged(run):
    with pytest.raises(DivergedError) as caught:
        run.train()
    return caught.value


def groups_of(made, *, epochs=3, accumulation=1):
    """Return the rows of each batch of each step, as they will come."""
    steps = []
    for epoch in range(epochs):
        made.epoch = epoch
        listed = [sorted({made.example_of[i] for i in batch.feature_index}) for batch in made]
        steps += [listed[start : start + accumulation] for start in range(0, len(listed), accumulation)]
    return steps


def first_step_with(made, rows, **settings):
    """Return the first step, counted from 1, that holds one of these rows, and those of them that it holds."""
    for step, group in enumerate(groups_of(made, **settings), 1):
        found = [row for batch in group for row in batch if row in rows]
        if found:
            return step, found
    raise AssertionError("no such row")


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(model, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in model.state_dict().items())


def names(rows):
    return sorted(f"row {row}" for row in rows)


# --- who did it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [NAN, float("inf")])
@pytest.mark.parametrize("row", [0, 7, 23])
@pytest.mark.parametrize("logging_steps", [1, 100])
def test_a_poisoned_label_is_caught_at_its_step_with_its_row(row, value, logging_steps):
    made = batches(labels={row: value})
    step, _ = first_step_with(made, {row})
    run = trainer(bag(), made, logging_steps=logging_steps)
    error = diverged(run)
    assert (error.step, error.rows, error.folder) == (step, (f"row {row}",), None)
    assert str(error).startswith(f"The loss of step {step} is {value} (epoch {step / 6:.2f}). Run one by one, 1 of 4 ")
    assert f"rows give it: row {row}. All outputs of the model are finite: it is the labels of these rows" in str(error)
    assert str(error).endswith("Look at these rows, or leave them out.")
    assert run.step == step - 1 and all(math.isfinite(logged["loss"]) for logged in run.history.rows)


@pytest.mark.parametrize(("places", "said"), [([(2, 0), (2, 3)], "3"), ([(1, 0), (2, 1), (2, 3)], "2 and 3")])
def test_all_poisoned_rows_of_a_step_are_named(places, said):
    """Those of every batch of the step, and not the one of a later step."""
    steps = groups_of(batches(48), accumulation=3)
    poisoned = {steps[1][batch][row] for batch, row in places}
    made = batches(48, labels=dict.fromkeys({*poisoned, steps[2][0][0]}, NAN))
    error = diverged(trainer(bag(), made, gradient_accumulation_steps=3))
    assert error.step == 2 and sorted(error.rows) == names(poisoned)
    assert f"The loss of step 2 is nan, in batch {said} of its 3 (epoch 0.50)." in str(error)
    run_alone = 4 * len({batch for batch, _ in places})
    assert f"{len(poisoned)} of {run_alone} rows give it: row " in str(error)


@pytest.mark.parametrize("size", [1, 24])
def test_a_batch_whose_rows_are_all_poisoned_is_not_taken_for_exploded_weights(size):
    first = groups_of(batches(48, size))[0][0]
    poisoned = set(range(48)) - set(first) if size == 24 else {groups_of(batches(48, size))[3][0][0]}
    error = diverged(trainer(bag(), batches(48, size, labels=dict.fromkeys(poisoned, NAN))))
    assert error.step == (2 if size == 24 else 4)
    assert sorted(error.rows) == names(poisoned) and "exploded" not in str(error)


def test_a_token_that_is_poisoned_in_the_checkpoint():
    made = batches()
    model = bag()
    with torch.no_grad():
        model.embedding.weight[RARE] = NAN
    rare = {row for row in range(24) if row % 7 == 3}
    step, rows = first_step_with(made, rare)
    error = diverged(trainer(model, made))
    assert (error.step, sorted(error.rows), error.parameter) == (step, names(rows), "embedding.weight")
    assert "The first output that is not finite is that of 'embedding': nan (float32)." in str(error)
    assert "The first value that is not finite is that of 'embedding.weight'." in str(error)


def test_a_model_that_gives_nothing_finite_from_the_start():
    model = bag()
    model.head.weight.data.fill_(NAN)
    made = batches()
    error = diverged(trainer(model, made))
    assert error.step == 1 and sorted(error.rows) == names(groups_of(made)[0][0]) and error.parameter == "head.weight"
    assert "no step was made before: it is the model as it was given, or all of these rows: row " in str(error)


def test_an_overflow_in_half_precision():
    made = batches()
    rare = {row for row in range(24) if row % 7 == 3}
    step, rows = first_step_with(made, rare)
    error = diverged(trainer(bag("half"), made, learning_rate=1e-6))
    assert (error.step, sorted(error.rows)) == (step, names(rows))
    assert f"The loss of step {step} is inf" in str(error)
    assert "The first output that is not finite is that of 'in_half': inf (float16). " in str(error)
    assert "It is an overflow: compute that part in float32 or bfloat16" in str(error)


def test_a_part_that_is_not_finite_for_other_rows_or_masks_is_not_blamed():
    (*_, batch) = [group[0] for group in groups_of(batches(), epochs=1) if {row % 7 for row in group[0]} > {3}]
    poisoned = next(row for row in batch if row % 7 != 3)
    error = diverged(trainer(bag("spare"), batches(labels={poisoned: NAN})))
    assert error.rows == (f"row {poisoned}",)
    assert "All outputs of the model are finite: it is the labels of these rows, or the loss function." in str(error)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("max_grad_norm", [0, 1.0])
def test_a_gradient_that_is_not_finite_though_the_loss_is(accumulation, max_grad_norm):
    model = bag("root")
    with torch.no_grad():
        model.embedding.weight[RARE] = 0.0
    zero = {8, 17}
    made = batches(tokens=lambda row: [RARE] if row in zero else tokens_of(row)[: 1 + row % 5])
    step, rows = first_step_with(made, zero, accumulation=accumulation)
    run = trainer(model, made, gradient_accumulation_steps=accumulation, max_grad_norm=max_grad_norm)
    error = diverged(run)
    assert (error.step, sorted(error.rows), error.parameter) == (step, names(rows), "embedding.weight")
    assert f"The gradient of step {step} is not finite, though its loss is" in str(error) and "Its norm is nan" in str(
        error
    )
    assert "The first gradient that is not finite is that of 'embedding.weight'." in str(error)
    guilty = [
        str(n) for n, group in enumerate(groups_of(made, accumulation=accumulation)[step - 1], 1) if {*group} & zero
    ]
    assert accumulation == 1 or f"in batch {' and '.join(guilty)} of its 3 (" in str(error)
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_a_norm_that_overflows_is_no_finite_gradient():
    """Each number of the gradient is finite; clipping by a norm of infinity would make all of them zero, in silence."""
    made = batches(labels={5: 1e18})
    model = bag()
    model.head.weight.data.mul_(1e3)
    model.loss = lambda outputs, batch: LossSum(
        (outputs["value"] * batch.targets["labels"]).sum() * 1e4, torch.tensor(float(len(batch.group)))
    )
    step, _ = first_step_with(made, {5})
    error = diverged(trainer(model, made, learning_rate=1e-9))
    assert (error.step, error.rows, error.parameter) == (step, ("row 5",), "embedding.weight")
    assert "Its norm is inf." in str(error)


@pytest.mark.parametrize("poisoned", [{4}, {4, 9, 20}])
def test_the_choices_of_a_question_are_run_together(poisoned, tmp_path):
    def tokens(feature):
        row, choice = divmod(feature, 3)
        return [RARE] if row in poisoned and choice == 1 else [1 + feature % 20, 2 + feature % 7]

    made = batches(choices=3, tokens=tokens)
    model = bag("choices")
    with torch.no_grad():
        model.embedding.weight[RARE] = NAN
    step, rows = first_step_with(made, poisoned)
    error = diverged(trainer(model, made, output_dir=tmp_path))
    assert (error.step, sorted(error.rows)) == (step, names(rows))
    report = json.loads((error.folder / "report.json").read_text("utf-8"))
    assert sorted(report["feature_index"]) == [3 * row + choice for row in sorted(rows) for choice in range(3)]
    assert len(report["alone"]) == 4
    assert replay(error.folder, bag("choices")).total.isnan()


@pytest.mark.parametrize("optim", ["sgd", "adamw"])
def test_exploded_weights_are_told_from_bad_rows(optim):
    settings = {"optim": optim, "learning_rate": 1e19, "max_grad_norm": 0}
    made = batches(200)
    run = trainer(bag(), made, **settings)
    error = diverged(run)
    assert error.step > 1 and sorted(error.rows) == names(groups_of(made)[error.step - 1][0])
    name, weight = max(run.model.named_parameters(), key=lambda item: item[1].detach().abs().max().item())
    text = str(error)
    assert "It is no row in particular: the weights have exploded." in text
    assert (
        f"The largest weight is {weight.abs().max().item():.3g}, in '{name}'. Lower the learning rate (1e+19)." in text
    )


def test_exploded_weights_are_told_although_some_rows_still_give_a_number():
    """And although the step before was in order, if an absurd loss is."""
    model = bag()
    made = batches(200, tokens=lambda row: [1 + row % 20])
    run = trainer(model, made)
    groups = [[batch] for batch in list(made)[:3]]
    run.train_step(groups[0])
    with torch.no_grad():
        model.embedding.weight.fill_(1e3)
    run.train_step(groups[1])
    first, second, third = (set(group[0].inputs["input_ids"].flatten().tolist()) for group in groups)
    with torch.no_grad():
        model.embedding.weight[min(third - first - second)] = 1e25
    text = r"step 3 is inf .* the weights have exploded. .* The largest weight is 1e\+25, in 'embedding"
    with pytest.raises(DivergedError, match=text) as caught:
        run.train_step(groups[2])
    assert len(caught.value.rows) < 4


def test_a_fault_of_all_rows_together_is_said_to_be_that():
    """The loss of a batch that no row of it has alone."""
    model = bag()
    plain = model.loss
    model.loss = lambda outputs, batch: LossSum(plain(outputs, batch).total * (NAN if len(batch.group) > 1 else 1.0),
                                                torch.tensor(float(len(batch.group))))  # fmt: skip
    made = batches()
    error = diverged(trainer(model, made))
    assert sorted(error.rows) == names(groups_of(made)[0][0])
    assert "No row gives it alone and without dropout. The rows are: row" in str(error)


@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_a_count_that_is_no_number_is_caught_too(value):
    """It would divide every gradient: by infinity, and nothing would be learned, in silence."""
    model = bag()
    model.loss = lambda outputs, batch: LossSum(outputs["value"].sum(), batch.targets["labels"].sum())
    made = batches(labels={5: value})
    step, _ = first_step_with(made, {5})
    error = diverged(trainer(model, made))
    assert (error.step, error.rows) == (step, ("row 5",)) and f"The loss of step {step} is nan" in str(error)


def test_a_loss_that_is_no_number_is_caught_though_its_gradient_is_finite():
    model = bag()
    model.loss = lambda outputs, batch: LossSum(
        outputs["value"].sum() + batch.targets["labels"].sum(), torch.tensor(float(len(batch.group)))
    )
    made = batches(labels={5: NAN})
    step, _ = first_step_with(made, {5})
    error = diverged(trainer(model, made))
    assert (error.step, error.rows, error.parameter) == (step, ("row 5",), None)


def test_a_model_that_cannot_run_one_row_still_says_which_batch():
    made = batches(labels={5: NAN})
    step, _ = first_step_with(made, {5})
    with collect() as said:
        error = diverged(trainer(bag("four_rows"), made))
    assert error.step == step and sorted(error.rows) == names(groups_of(made)[step - 1][0])
    assert said == [f"The rows of step {step} could not be run one by one (ValueError: four rows, please)."]


def test_many_rows_are_not_all_spelled_out():
    made = batches(60, 30, labels=dict.fromkeys(range(60), NAN))
    error = diverged(trainer(bag(), made))
    assert len(error.rows) == 30 and "; and 20 more." in str(error)


def test_without_a_describe_features_are_numbered():
    made = batches(labels={5: NAN})
    error = diverged(Trainer(bag(), made, config=TrainingConfig(**SETTINGS)))
    assert error.rows == ("feature 5",)


def test_the_error_survives_the_way_to_another_process(tmp_path):
    error = DivergedError("text", step=3, rows=("a", "b"), parameter="w", folder=tmp_path)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == "text" and vars(copy) == vars(error)
    assert vars(DivergedError("text")) == {"step": None, "rows": (), "parameter": None, "folder": None}


# --- nothing is touched ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "batch_norm"])
def test_a_step_that_is_not_made_touches_nothing(kind):
    """Nor the statistics of a batch norm, which move in the forward pass: they would make every row look guilty."""
    made = batches(labels={5: NAN})
    step, _ = first_step_with(made, {5})
    model = bag(kind)
    if kind == "batch_norm":  # the row itself is poisoned, not only its label
        made = batches(tokens=lambda row: [RARE] if row == 5 else tokens_of(row % 3))
        step, _ = first_step_with(made, {5})
        with torch.no_grad():
            model.embedding.weight[RARE] = NAN
    run = trainer(model, made)
    last = {0: state(model)}
    run._call = lambda stage, *arguments: last.update({run.step: state(model)}) if stage == "on_step_end" else None
    error = diverged(run)
    assert error.step == step and run.step == step - 1
    known = {name: tensor for name, tensor in last[step - 1].items() if name != "embedding.weight"}
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in known.items())
    assert error.rows == ("row 5",)
    assert run._steps_counted == step - 1 and float(run._counted) == 4 * (step - 1)


# --- the reproduction -----------------------------------------------------------------------------------------------


def refused(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_the_reproduction_is_whole_and_reproduces(tmp_path):
    made = batches(labels={5: NAN})
    step, _ = first_step_with(made, {5})
    run = trainer(bag(), made, output_dir=tmp_path / "new", seed=7)
    error = diverged(run)
    assert error.folder == tmp_path / "new" / "diverged"
    assert sorted(path.name for path in error.folder.iterdir()) == [
        "batch.safetensors",
        "report.json",
        "weights.safetensors",
    ]
    report = json.loads((error.folder / "report.json").read_text("utf-8"), parse_constant=refused)
    wanted = {"step": step, "what": "loss", "reason": "rows", "rows": ["row 5"], "feature_index": [5], "seed": 7,
              "losses": ["nan"], "learning_rate": 0.01, "epoch": step / 6}  # fmt: skip
    assert {name: report[name] for name in wanted} == wanted
    assert report["alone"].count("nan") == 1 and len(report["alone"]) == 4
    assert report["in_batch"]["feature_index"][report["alone"].index("nan")] == 5
    assert f"replay('{error.folder}', model)" in str(error)
    other = Bag()
    loss = replay(error.folder, other)
    assert loss.total.isnan() and float(loss.count) == 4
    assert same(other, state(run.model)) and not other.training


def test_a_gradient_is_reproduced(tmp_path):
    model = bag("root")
    with torch.no_grad():
        model.embedding.weight[RARE] = 0.0
    error = diverged(trainer(model, batches(tokens=lambda row: [RARE] if row == 8 else [1 + row]), output_dir=tmp_path))
    other = Bag("root")
    loss = replay(error.folder, other).total
    assert loss.isfinite()
    loss.backward()
    assert other.embedding.weight.grad.isnan().any() and other.head.weight.grad.isfinite().all()


def test_an_older_reproduction_is_left_alone(tmp_path):
    folders = [diverged(trainer(bag(), batches(labels={5: NAN}), output_dir=tmp_path)).folder for _ in range(3)]
    assert [folder.name for folder in folders] == ["diverged", "diverged-2", "diverged-3"]
    assert all((folder / "report.json").is_file() for folder in folders)


def test_a_folder_that_cannot_be_written_hides_nothing(tmp_path):
    (tmp_path / "file").write_text("x")
    error = diverged(trainer(bag(), batches(labels={5: NAN}), output_dir=tmp_path / "file"))
    assert error.folder is None and error.rows == ("row 5",)
    assert re.search(r"A reproduction could not be written in '.*file': .+\.", str(error))


def test_what_cannot_be_run_again_is_an_error(tmp_path):
    error = diverged(trainer(bag(), batches(labels={5: NAN}), output_dir=tmp_path))
    with pytest.raises(CheckpointError, match=r"cannot be run again with this model"):
        replay(error.folder, Bag("batch_norm"))
    (error.folder / "report.json").unlink()
    with pytest.raises(CheckpointError, match=r"report.json"):
        replay(error.folder, Bag())


# --- going back -----------------------------------------------------------------------------------------------------


def by_hand(model, made, *, poisoned, keep_every, steps, rate, schedule):
    """Train with SGD by hand, going back as it is promised; return the steps of the history."""
    model.train()
    torch.manual_seed(42)
    optimizer = DecoupledSGD([{"params": list(model.parameters()), "weight_decay": 0.0}], lr=rate, momentum=0.9)
    kept, step, epoch, factor, rollbacks, counted, made_steps = None, 0, 0, 1.0, [], 0, 0
    while step < steps:
        made.epoch = epoch
        for batch in made:
            if step == steps:
                break
            optimizer.zero_grad()
            loss = model.loss(model(batch), batch)
            if poisoned & set(batch.feature_index):
                model.load_state_dict(kept[1])
                factor /= 2
                optimizer = DecoupledSGD(
                    [{"params": list(model.parameters()), "weight_decay": 0.0}], lr=rate, momentum=0.9
                )
                rollbacks.append((step + 1, kept[0]))
            else:
                if kept is None or step % keep_every == 0:
                    kept = (step, deepcopy(model.state_dict()))
                counted, made_steps = counted + len(batch.feature_index), made_steps + 1
                (loss.total / (counted / made_steps)).backward()
                for group in optimizer.param_groups:
                    group["lr"] = rate * factor * schedule(step)
                optimizer.step()
            step += 1
        epoch += 1
    return rollbacks


@pytest.mark.parametrize("keep_every", [1, 4, 100])
@pytest.mark.parametrize("decay", ["constant", "linear"])
def test_going_back_is_that_of_a_loop_by_hand(keep_every, decay):
    """Weights of the snapshot, no old momentum, half the rate, the next batch, and no count of the lost step."""
    made = batches(26, labels={5: NAN}, seed=3)  # the last batch of an epoch is a small one
    model = bag()
    other = deepcopy(model)
    expected = by_hand(
        other, made, poisoned={5}, keep_every=keep_every, steps=21, rate=0.05,
        schedule=lambda step: 1.0 if decay == "constant" else 1 - step / 21,
    )  # fmt: skip
    run = trainer(model, made, on_divergence="halve", logging_steps=keep_every, optim="sgd", learning_rate=0.05,
                  weight_decay=0.0, max_grad_norm=0, lr_scheduler_type=decay, fast_dropout=False)  # fmt: skip
    with collect() as said:
        history = run.train()
    assert history.steps == 21 and len(expected) == 3
    assert [(row["step"], row["to_step"]) for row in history.rollbacks] == expected
    assert [row["learning_rate"] for row in history.rollbacks] == [0.025, 0.0125, 0.00625]
    assert [row["rows"] for row in history.rollbacks] == [["row 5"]] * 3
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], rtol=1e-4, atol=1e-6)
    assert (
        len(said) == 3 and [f"this was time {n} of at most 5." in text for n, text in enumerate(said, 1)] == [True] * 3
    )
    to = expected[0][1]
    assert (
        "row 5. " in said[0]
        and f"Back to the weights after step {to} and on at half the learning rate (0.025)" in said[0]
    )


def test_it_goes_back_exactly_to_the_weights_that_were_kept():
    made = batches(labels={groups_of(batches())[5][0][0]: NAN})  # in the sixth and last batch of the first epoch
    model = bag("batch_norm")
    run = trainer(model, made, on_divergence="halve", logging_steps=3, num_train_epochs=1)
    seen = {}
    passed = run.watch.passed
    run.watch.passed = lambda *arguments: (seen.update({run.step: state(model)}), passed(*arguments))
    history = run.train()
    (row,) = history.rollbacks
    assert (row["step"], row["to_step"]) == (6, 3) and same(model, seen[3])
    assert not run.optimizer.state
    assert run.schedule.get_last_lr() == pytest.approx([row["learning_rate"]] * 2)


def test_after_the_last_roll_back_it_stops(tmp_path):
    made = batches(labels={5: NAN})
    run = trainer(bag(), made, on_divergence="halve", num_train_epochs=9, output_dir=tmp_path)
    error = diverged(run)
    assert len(run.history.rollbacks) == MOST_ROLLBACKS == 5
    assert error.rows == ("row 5",) and 30 < error.step <= 36  # in the sixth epoch
    assert "Training went back 5 times before." in str(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["diverged", *(f"diverged-{n}" for n in range(2, 7))]
    assert error.folder.name == "diverged-6"


def test_a_poisoned_first_step_is_left_out():
    first = groups_of(batches())[0][0]
    model = bag()
    before = state(model)
    run = trainer(model, batches(labels={first[1]: NAN}), on_divergence="halve", num_train_epochs=1)
    kept = []
    run._call = lambda stage, *_: kept.append(state(model)) if stage == "on_step_end" else None
    history = run.train()
    assert [(row["step"], row["to_step"]) for row in history.rollbacks] == [(1, 0)] and history.steps == 6
    assert all(torch.equal(kept[0][name], before[name]) for name in before)
    assert not same(model, before)


def test_a_run_without_a_single_step_is_an_error():
    error = diverged(trainer(bag(), batches(labels=dict.fromkeys(range(24), NAN)), on_divergence="halve", max_steps=3))
    assert error.step == 3 and "Training went back 2 times before." in str(error)


def test_evaluations_and_epochs_come_when_they_would_have_come():
    run = trainer(bag(), batches(labels={5: NAN}), on_divergence="halve", num_train_epochs=3)
    run._call = lambda stage, *_: epochs.append(run.step) if stage == "on_epoch_end" else None
    epochs = []
    run.train()
    assert epochs == [6, 12, 18]


def test_clean_training_is_the_same_with_and_without_snapshots():
    trained = []
    for on_divergence in ("stop", "halve"):
        run = trainer(bag(), batches(), on_divergence=on_divergence)
        run.watch.failed = lambda *_: pytest.fail("nothing is wrong")
        assert run.train().rollbacks == []
        trained.append(state(run.model))
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])
