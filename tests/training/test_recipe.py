"""The recipe for one GPU: its folds, its plan, its list of runs and what follows from them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from skinxai.data import Record, Records
from skinxai.labels import LabelSet

RATES = {"lite0": 6000.0, "lite1": 2000.0, "lite2": 1500.0}
IMAGES = {"choices": 13600, "members": 11200, "student": 14000, "sources": 12000}


@pytest.fixture
def material(recipe, tmp_path) -> SimpleNamespace:
    """Ten lesions of two images each; images 0 and 7 are linked, and so are 7 and 9."""
    items = tuple(
        Record(f"{n}{side}", tmp_path / f"{n}{side}.png", "xy"[n % 2], f"lesion {n}")
        for n in range(10) for side in "lr"
    )  # fmt: skip
    made = recipe.material.Material.__new__(recipe.material.Material)
    made.records = recipe.material.with_webp(Records(items, LabelSet(("x", "y"))), tmp_path)
    made.fold = {item.image_id: int(item.image_id[0]) % 5 for item in items}
    made.part = {i.image_id: "val" if int(i.image_id[0]) >= 7 else "train" for i in items}
    made.copies, made.linked = {"8l"}, [["0l", "7r"], ["7l", "9l"]]
    made.source = {i.image_id: "here" if i.image_id == "9r" else "there" for i in items}
    return made


def ids(part: Records) -> set[str]:
    return {item.image_id for item in part}


def test_both_copies_are_learnt_and_jpeg_files_are_judged(material) -> None:
    for learns in ("fold 2", "train fold 2", "train", "without here"):
        each = material.splits(learns)
        names = [item.image_id for item in each.train]
        plain = [name for name in names if not name.endswith("-webp")]
        assert plain and sorted(names) == sorted([*plain, *(f"{n}-webp" for n in plain)])
        assert ids(each.val) <= set(material.ids)
        webp = material.webp(each.val)
        assert [item.image_id for item in webp] == [f"{i.image_id}-webp" for i in each.val]
        assert [item.path.suffix for item in webp] == [".webp"] * len(each.val)
        assert webp.targets() == each.val.targets()


def test_the_folds_cover_train_and_validation_part_and_share_no_lesion(material) -> None:
    judged = [material.splits(f"fold {k}") for k in range(5)]
    assert [len(each.val) for each in judged] == [4] * 5
    assert set().union(*(ids(each.val) for each in judged)) == set(material.ids)
    for each in judged:
        assert not ids(each.train) & ids(each.val) and len(each.test) == 0
        assert {i.lesion_id for i in each.train}.isdisjoint(i.lesion_id for i in each.val)


def test_members_and_student_never_learn_the_validation_part(material) -> None:
    held = {name for name, part in material.part.items() if part == "val"}
    for k in range(5):
        each = material.splits(f"train fold {k}")
        assert not held & (ids(each.train) | ids(each.val))
    student = material.splits("train")
    assert not held & ids(student.train)
    assert not {f"{name}-webp" for name in held} & ids(student.train)
    assert ids(student.val) == held - {"8l"}  # shows a lesion of the training part


def test_without_a_source_nothing_that_touches_it_is_learnt(recipe, material) -> None:
    """One image is from here; its lesion, and through two links two more, stay apart."""
    apart = {f"{n}{side}" for n in (0, 7, 9) for side in "lr"}
    assert material.touched("here") == apart
    each = material.splits("without here")
    learnt = {recipe.material.image_of(name) for name in ids(each.train)}
    assert learnt | ids(each.val) == set(material.ids) - apart
    assert {material.fold[name] for name in ids(each.val)} == {0}


def test_the_minutes_are_spent_as_worked_out_by_hand(recipe) -> None:
    plan = recipe.planning.plan_of(20, IMAGES, RATES, 2.0)
    members = 0.35 * 1200 - 10 * 2.0
    assert plan.epochs["members"] == int(members / (5 * 11200 * 1.15 * (1 / 2000 + 1 / 1500)))
    student = 0.35 * 1200 - 2.0
    assert plan.epochs["student"] == int(student / (14000 * 1.15 * 1.7 / 2000))
    assert plan.epochs["sources"] == int((120 - 8) / (4 * 12000 * 1.15 / 2000))
    names = list(recipe.settings.LADDER)
    assert list(plan.choices) == names[: len(plan.choices)]
    machine = recipe.jobs.Machine("cuda", "device", 0, "weights", False)
    listed = recipe.jobs.choices(machine, plan)
    assert len(listed) == plan.folds * (1 + len(plan.choices))
    assert sum(job.seconds for job in listed) <= 0.2 * 1200 + 1


def test_a_student_is_one_run_which_four_at_a_time_do_not_make_faster(recipe) -> None:
    """It begins, learns and ends at the rate of a single process, beside runs that end earlier."""
    alone = {name: rate / 3 for name, rate in RATES.items()}
    plan = recipe.planning.plan_of(20, IMAGES, RATES, 2.0, alone=alone, processes=4)
    expected = int((0.35 * 1200 - 4 * 2.0) / (14000 * 1.15 * 1.7 / alone["lite1"]))
    assert plan.epochs["student"] == expected
    others = recipe.planning.plan_of(20, IMAGES, RATES, 2.0)
    for phase in ("choices", "members", "sources"):
        assert plan.epochs[phase] == others.epochs[phase]
    machine = recipe.jobs.Machine("cuda", "device", 0, "weights", False)
    (job,) = recipe.jobs.student(machine, plan, {}, "teacher", ())
    assert 0.3 * 1200 < job.seconds <= 0.35 * 1200


@pytest.mark.parametrize(("factor", "bound"), [(0.01, 0), (1000, 1)])
def test_epochs_stay_between_their_limits(recipe, factor: float, bound: int) -> None:
    rates = {name: factor * rate for name, rate in RATES.items()}
    plan = recipe.planning.plan_of(20, IMAGES, rates, 0.0)
    for phase in ("members", "student", "sources"):
        assert plan.epochs[phase] == recipe.planning.LIMITS[phase][bound]


def test_more_pixels_leave_fewer_epochs(recipe) -> None:
    kept, epochs = recipe.jobs._kept({"image_size": (240, 320), "mixup": 0.2, "epochs": 2}, 20)
    assert kept == {"image_size": (336, 448), "mixup": 0.2}
    assert epochs == int(20 * 288 * 384 / (336 * 448))


def test_a_difference_below_its_spread_is_none(recipe) -> None:
    def row(name: str, gain: float, spread: float, folds: int = 3) -> dict[str, object]:
        return {"choice": name, "folds": folds, "gain": gain, "gain_spread": spread}

    rows = [
        {"choice": "base", "folds": 3},
        row("mixup", 0.02, 0.01),
        row("cutmix", 0.03, 0.01),  # the same axis, and better
        row("label-smoothing", 0.02, 0.03),
        row("average-0.998", -0.02, 0.001),
        row("drop-path-0.2", 0.05, 0.0, folds=1),
    ]
    assert recipe.outcomes.choose(rows) == {"cutmix": 1.0}


def test_gains_are_paired_by_fold(recipe, tmp_path) -> None:
    for name, values in (("base", (0.5, 0.7)), ("mixup", (0.55, 0.77))):
        for fold, value in enumerate(values):
            folder = tmp_path / "runs/choices" / f"{name}-{fold}"
            folder.mkdir(parents=True)
            one = dict.fromkeys(
                ("accuracy", "balanced_accuracy", "macro_f1", "melanoma_recall"), value
            )
            (folder / "done.json").write_text(json.dumps({"one": one}))
    base, mixup = recipe.outcomes.compare(tmp_path, ["mixup", "focal"], 2)
    assert base["balanced_accuracy"] == pytest.approx(0.6)
    assert base["balanced_accuracy_spread"] == pytest.approx(0.1 * 2**0.5)
    assert mixup["gain"] == pytest.approx(0.06)
    assert mixup["gain_spread"] == pytest.approx(0.01 * 2**0.5)


def test_gains_are_paired_by_fold_where_runs_have_failed(recipe, tmp_path) -> None:
    """The base on fold 1 and mixup on fold 2; what is left of them are not the same folds."""
    figures = ("accuracy", "balanced_accuracy", "macro_f1", "melanoma_recall")
    known = {"base": {0: 0.5, 2: 0.9}, "mixup": {0: 0.5, 1: 0.6}, "focal": {0: 0.6, 2: 0.9}}
    for name, folds in known.items():
        for fold, value in folds.items():
            folder = tmp_path / "runs/choices" / f"{name}-{fold}"
            folder.mkdir(parents=True)
            content = {"one": dict.fromkeys(figures, value)}
            (folder / "done.json").write_text(json.dumps(content))
    _, mixup, focal = recipe.outcomes.compare(tmp_path, ["mixup", "focal"], 3)
    assert "gain" not in mixup and mixup["balanced_accuracy"] == pytest.approx(0.55)
    assert focal["gain"] == pytest.approx(0.05)


def test_the_ensembles_weight_has_the_least_macro_log_loss(recipe) -> None:
    target = np.array([0, 0, 0, 1])
    one = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.7, 0.3]])
    two = np.array([[0.6, 0.4], [0.05, 0.95], [0.9, 0.1], [0.6, 0.4]])
    first = -(np.log(0.9) + np.log(0.8) + np.log(0.4)) / 3
    assert recipe.outcomes.macro_log_loss(target, one) == pytest.approx((first - np.log(0.3)) / 2)
    tried = {}
    for step in range(21):
        p = (step * one + (20 - step) * two) / 20
        tried[step / 20] = (-np.log(p[:3, 0]).mean() - np.log(p[3, 1])) / 2
    best = min(tried, key=tried.get)
    found = recipe.outcomes.fit_weights(target, {"lite1": one, "lite2": two})
    assert found == {"lite1": best, "lite2": 1 - best} and 0 < best < 1
