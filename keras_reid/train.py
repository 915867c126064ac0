"""python -m keras_reid.train --flagfile=market.flags: trains an embedder, evaluates it, exports it, scores the exports.

Everything of the run lies in --run_dir; the same command goes on where the run stopped. Flags given later override
those of the flagfile, which is looked up as given and then in configs/.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from keras_reid import command, options
from keras_reid.data import describe, sampler_labels, steps_per_epoch, write_synthetic
from keras_reid.data.checks.catalog_checks import check_catalog
from keras_reid.data.checks.findings import warnings_or_refusal
from keras_reid.data.fingerprint import fingerprint
from keras_reid.data.places import is_remote, list_folder
from keras_reid.data.readers.sources import license_notes
from keras_reid.data.training_sets import describe_sets, read_training_sets, take_part
from keras_reid.errors import ReidError
from keras_reid.interrupts import Interrupted
from keras_reid.training.cluster import Cluster, read_cluster
from keras_reid.training.run_card import begin_card, read_card, update_card
from keras_reid.training.run_folder import RunFolder

# Under tfa_swa: from so many training batches the statistics of what ships are taken.
STATISTICS_BATCHES = 16


class TrainingData(NamedTuple):
    """What a run trains and is scored on.

    Attributes:
        catalog: all images.
        images: those that train.
        labels: what the sampler needs to know of them beside their people.
        steps_per_epoch: of P * K images each.
    """

    catalog: pd.DataFrame
    images: pd.DataFrame
    labels: dict
    steps_per_epoch: int


def train(flags: command.Flags) -> None:
    """Runs one worker of the run, mostly the only one."""
    cluster = read_cluster(flags.strategy)
    with cluster.one_voice(), cluster.missing_named():
        command.required(flags, "data_dir", "run_dir")
        with contextlib.closing(RunFolder(flags.run_dir, writes=cluster.is_chief)) as run:
            make_run(flags, run, cluster)


def make_run(flags: command.Flags, run: RunFolder, cluster: Cluster) -> None:
    # --- Run folder and data: all that can be checked before TensorFlow is loaded.
    text, defaults = command.as_text(flags), command.as_text(options.train_flags())
    run.lock()
    run.check(text, resume=flags.resume, allow_flag_changes=flags.allow_flag_changes, defaults=defaults)
    data = read_data(flags, cluster)
    if is_finished(run, flags):
        card = read_card(run)
        if not card and cluster.is_chief:
            begin_record(run, flags, data, 0, precision=flags.mixed_precision)
        if not card.get("finished"):  # it was killed between its scores and its card, or that was deleted
            keep_record(run)
        return report(run, early_stop=flags.early_stop)

    # --- The network, and where its run stopped.
    from keras_reid.evaluation import RetrievalEvaluation
    from keras_reid.keras2 import keras
    from keras_reid.training import Checkpoints, CollapseDoctor

    team = prepare_tensorflow(flags, cluster)
    pipeline_augmentation(flags)  # refused here, not when the folder is a run's
    with team.scope():
        trainer = build_trainer(flags, data)
    batch = command.given(flags, "identities_per_batch", "images_per_identity")
    doctor = CollapseDoctor(**batch, run=run)
    watchers = {"doctor": doctor}
    with team.scope():
        checkpoints = Checkpoints(run.checkpoints, trainer, watchers=watchers, best_step=run.best_step, team=team)
    step = where_it_stopped(flags, run, checkpoints, data.steps_per_epoch)

    # --- From here on the folder is this run's.
    run.begin(text)
    run.forget_after(step)
    checkpoints.prune()
    if team.is_chief:
        begin_record(run, flags, data, step, precision=keras.mixed_precision.global_policy().name)
    rules = command.given(flags, "missing_cameras", "batch_size")
    evaluation = RetrievalEvaluation(data.catalog, every=flags.evaluate_every, team=team, **rules)
    evaluation.set_model(trainer)
    if team.replicas > 1:
        evaluation.prepare()
    if team.chiefs(step == 0 and flags.score_baselines and "baselines" not in run.read_evaluation()):
        score_baselines(run, evaluation, data.catalog, missing_cameras=flags.missing_cameras)
    try:
        make_steps(flags, data, run, trainer, checkpoints, doctor, evaluation, team, first_step=step)
        checkpoints.prune()  # the last score may have told which is the best
        embedder = trainer.shipped_embedder()  # by all workers at once
        if team.is_chief:
            finish(run, flags, embedder, evaluation, data.catalog)
    except (Interrupted, ReidError):
        with contextlib.suppress(OSError, ReidError):  # what stopped the run may stop this, too
            keep_record(run)
        raise
    keep_record(run)
    if team.is_chief:
        report(run, early_stop=flags.early_stop)
    team.wait()


def is_finished(run: RunFolder, flags: command.Flags) -> bool:
    """Whether the newest epoch is the last one that the flags ask for, and was shipped and scored."""
    shipped = run.read_evaluation().get("epochs")
    if run.last_row().get("epoch", shipped) != shipped:
        return False  # it has gone on since
    return shipped in (flags.epochs, run.stopped_after(flags.early_stop) or flags.epochs)


def read_data(flags: command.Flags, cluster: Cluster) -> TrainingData:
    """Reads and checks the datasets, and says what they are; renders synthetic ones that are not there yet."""
    sets = options.data_sets(flags)
    render_synthetic(sets, flags, cluster)
    catalog = read_training_sets(sets, camera_pattern=flags.camera_pattern)
    catalog = take_part(catalog, identities=flags.train_identities, images=flags.train_images, seed=flags.seed)
    print("\n".join(filter(None, [describe(catalog), describe_sets(catalog), about_cameras(catalog, flags)])))
    rules = {"images_per_identity": flags.images_per_identity, "missing_cameras": flags.missing_cameras}
    for line in warnings_or_refusal(check_catalog(catalog, **rules)):
        print(line)
    images = catalog[catalog.split == "train"]
    P, K = flags.identities_per_batch, flags.images_per_identity
    labels = sampler_labels(flags.sampler, images)
    batches_of = {"identities_per_batch": P, "images_per_identity": K, "dataset_ids": labels.get("dataset_ids")}
    steps = steps_per_epoch(images.person_id, **batches_of)
    total = steps * flags.epochs
    print(f"an epoch is {steps} steps of {P} x {K} images; {flags.epochs} epochs are {total} steps", flush=True)
    return TrainingData(catalog, images, labels, steps)


def prepare_tensorflow(flags: command.Flags, cluster: Cluster):
    """Sets seeds, determinism and precision of the process, and returns the `Team` of replicas."""
    from keras_reid.keras2 import keras, tf
    from keras_reid.training.precision import cpu_computes_in_bfloat16, resolve_precision
    from keras_reid.training.strategy import build_team

    if flags.replicas > flags.identities_per_batch:
        raise ReidError(
            f"--replicas={flags.replicas}, expected at most --identities_per_batch={flags.identities_per_batch}: each "
            "replica gets whole identities."
        )
    team = build_team(flags.strategy, cluster=cluster, replicas=flags.replicas)
    team.parts(flags.identities_per_batch, least=2 if flags.mining_scope == "replica" else 1)
    keras.utils.set_random_seed(flags.seed)
    if flags.deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = len(tf.config.list_physical_devices("GPU"))
    policy = resolve_precision(flags.mixed_precision, gpus=gpus, cpu_has_bfloat16=cpu_computes_in_bfloat16())
    keras.mixed_precision.set_global_policy(policy)
    print(f"precision {policy}, {gpus or 'no'} GPU, TensorFlow {tf.__version__}", flush=True)
    return team


def build_trainer(flags: command.Flags, data: TrainingData):
    """Returns the compiled `TripletTrainer`."""
    from keras_reid.losses import build_loss
    from keras_reid.models import build_embedder
    from keras_reid.training import TripletTrainer, build_augmentation, build_optimizer
    from keras_reid.training.layer_rates import read_layer_learning_rates
    from keras_reid.training.schedules import build_schedule

    loss = build_loss(flags.loss, margin=flags.margin, mining_scope=flags.mining_scope)
    length = {"epochs": flags.epochs, "steps_per_epoch": data.steps_per_epoch}
    decay = command.given(flags, "warmup_epochs", "decay_epochs")
    schedule = build_schedule(flags.schedule, flags.learning_rate, **length, **decay)
    regularization = command.given(flags, "weight_decay", "clip_norm")
    optimizer = build_optimizer(flags.optimizer, schedule, **length, **regularization)
    embedder = build_embedder(
        **command.given(flags, "embedding_size", "head", "backbone_weights", "normalize_embedding", "sync_batch_norm"),
        image_size=(flags.image_height, flags.image_width),
        last_stride=int(flags.last_stride),
    )
    trainer = TripletTrainer(
        embedder,
        person_ids=data.images.person_id,
        **command.given(flags, "identity_loss_weight", "label_smoothing", "center_loss_weight", "ema"),
        layer_learning_rates=read_layer_learning_rates(flags.layer_learning_rates),
        sync_batch_norm=flags.sync_batch_norm,
        augmentation=build_augmentation(
            **command.given(flags, "color_jitter", "rand_augment", "random_grayscale", "random_blur", "seed")
        ),
    )
    trainer.compile(optimizer=optimizer, loss=loss, jit_compile=flags.jit_compile)
    if flags.freeze_backbone_epochs > flags.epochs:
        frozen = flags.freeze_backbone_epochs
        raise ReidError(f"--freeze_backbone_epochs={frozen}, expected at most --epochs={flags.epochs}.")
    if flags.freeze_backbone_epochs:
        trainer.freeze_backbone(flags.freeze_backbone_epochs * data.steps_per_epoch)
    if flags.optimizer == "tfa_swa":
        batches = training_batches(flags, data, cache="none").take(STATISTICS_BATCHES)
        trainer.statistics_batches = batches.map(lambda images, person_ids: images)
    return trainer


def pipeline_augmentation(flags: command.Flags):
    """Returns what happens to images before they reach the network; ReidError for strengths that make no sense."""
    from keras_reid.data.augmentation import Augmentation

    return Augmentation(flags.random_flip, flags.random_crop_padding, flags.random_erasing)


def training_batches(flags: command.Flags, data: TrainingData, *, start_step: int = 0, cache: str, team=None):
    """Returns the batches of the run from a step on, (images, person ids): whole, or the part of a team's worker."""
    from keras_reid.data.pipeline import training_dataset

    return training_dataset(
        data.images.image_path,
        data.images.person_id,
        **command.given(flags, "identities_per_batch", "images_per_identity", "epochs", "seed"),
        image_size=(flags.image_height, flags.image_width),
        augmentation=pipeline_augmentation(flags),
        start_step=start_step,
        cache=cache,
        parts=team and team.parts(flags.identities_per_batch),
        caches_beside=team.on_this_host if team else 1,
        **data.labels,
    )


def where_it_stopped(flags: command.Flags, run: RunFolder, checkpoints, steps_per_epoch: int) -> int:
    """Restores the newest checkpoint and returns its step, 0 for a run that begins."""
    step, total = checkpoints.restore_newest(), steps_per_epoch * flags.epochs
    if step == 0 and (run.last_model.exists() or flags.resume == "required"):
        raise ReidError(f"{flags.run_dir!r} has no checkpoint to go on from: restore it, or set a new --run_dir.")
    if step > total:
        made = step // steps_per_epoch
        raise ReidError(f"--epochs={flags.epochs}, but the run has made {made} epochs: give at least as many.")
    before = read_card(run).get("steps_per_epoch", steps_per_epoch)
    if step and before != steps_per_epoch and not flags.allow_flag_changes:
        raise ReidError(
            f"an epoch of this run was {before} steps and is {steps_per_epoch} now: --data_dir holds other training "
            "images. Restore them, set a new --run_dir, or go on all the same with --allow_flag_changes."
        )
    if step:
        print(f"going on after step {step} of {total}", flush=True)
    return step


def make_steps(
    flags, data: TrainingData, run: RunFolder, trainer, checkpoints, doctor, evaluation, team, *, first_step: int
):
    """Trains from a step to the last one: progress, records, checkpoints, evaluations; stops on a signal."""
    from keras_reid.data.images import FILE_ERRORS, raise_for_undecodable
    from keras_reid.training.callbacks import DrawCurves, Progress, RecordEpoch, RecordEvaluation
    from keras_reid.training.checkpoints import GoOnInEpoch
    from keras_reid.training.layer_rates import FreezeBackbone
    from keras_reid.training.profiling import ProfileSteps
    from keras_reid.training.tensorboard import EmbeddingHistograms

    steps, total_steps = data.steps_per_epoch, data.steps_per_epoch * flags.epochs
    batch_size = flags.identities_per_batch * flags.images_per_identity
    sizes = {"total_steps": total_steps, "steps_per_epoch": steps, "batch_size": batch_size}
    progress = Progress(first_step=first_step, **sizes, team=team)
    record = RecordEvaluation(run, early_stop=flags.early_stop, team=team)
    record.set_model(trainer)
    try:
        histograms = EmbeddingHistograms(data.images, image_size=(flags.image_height, flags.image_width))
        callbacks = [
            *([FreezeBackbone(flags.freeze_backbone_epochs * steps)] if flags.freeze_backbone_epochs else []),
            doctor,
            progress,
            RecordEpoch(run, checkpoints, progress, histograms=histograms, save_every_steps=flags.save_every_steps),
            evaluation,
            record,
            DrawCurves(run),
        ]
        if flags.profile_steps and team.is_chief:
            callbacks.append(ProfileSteps(run.tensorboard, steps=flags.profile_steps))
        epoch, made = divmod(first_step, steps)
        due = epoch and not made and evaluation.is_due(epoch - 1) and "val_top1" not in run.last_row()
        if team.chiefs(bool(due)):
            score_epoch(run, evaluation, record, epoch)  # it stopped between the epoch and its scores
        while progress.step < total_steps:
            epoch, made = divmod(progress.step, steps)
            if not made and team.chiefs(bool(run.stopped_after(flags.early_stop))):
                break
            # A run that stopped inside an epoch first makes the rest of it.
            trainer.fit(
                team.distribute(training_batches(flags, data, start_step=progress.step, cache=flags.cache, team=team)),
                initial_epoch=epoch,
                epochs=epoch + 1 if made else flags.epochs,
                steps_per_epoch=steps - made,
                callbacks=[*callbacks, *([GoOnInEpoch(trainer)] if made else [])],
                verbose=0,
            )
        if evaluation.scored_epoch != progress.step // steps:
            score_epoch(run, evaluation, record, progress.step // steps)
    except FILE_ERRORS as error:
        raise_for_undecodable(list(data.images.image_path), error)
    except Interrupted:
        progress.close()
        if progress.step:
            checkpoints.save(progress.step)
        print(f"stopped after step {progress.step} of {total_steps}: the same command goes on from there.")
        raise
    finally:
        progress.close()


def render_synthetic(sets: Sequence[tuple[str, str]], flags: command.Flags, cluster: Cluster) -> None:
    """Renders each synthetic dataset that is not there yet; workers beside the chief wait until it has."""
    for dataset, folder in sets:
        if dataset != "synthetic" or is_remote(folder) or list_folder(folder):
            continue
        if not cluster.is_chief:
            wait_for_folder(folder)
            continue
        print(f"rendering {flags.synthetic_identities} people into {folder}", flush=True)
        write_synthetic(
            folder,
            identities=flags.synthetic_identities,
            cameras=flags.synthetic_cameras,
            images_per_camera=flags.synthetic_images_per_camera,
            seed=flags.seed,
        )


def wait_for_folder(folder: str, seconds: float = 600) -> None:
    """Waits until the chief has rendered a dataset, which is there whole or not at all."""
    end = time.monotonic() + seconds
    while not list_folder(folder):
        if time.monotonic() > end:
            raise ReidError(f"no dataset at {folder!r} after {seconds:.0f} s: all workers must share the folder.")
        time.sleep(0.2)


def about_cameras(catalog: pd.DataFrame, flags: command.Flags) -> str:
    """Returns what is done about camera ids that are missing in query and gallery; ReidError for "refuse"."""
    scored = catalog[catalog.split.isin(["query", "gallery"])]
    missing = int(scored.camera_id.isna().sum())
    if not missing:
        return ""
    if flags.missing_cameras == "refuse":
        raise ReidError(
            f"{missing} of {len(scored)} query and gallery images have no camera id: give them, or say what a missing "
            "one means in scoring by --missing_cameras=distinct or leave_out."
        )
    means = {
        "distinct": "each counts as a camera of its own: images of one camera count as matches, which is easier",
        "leave_out": "they do not count",
    }
    return (
        f"{missing} of {len(scored)} query and gallery images have no camera id; in scoring "
        f"{means[flags.missing_cameras]} (--missing_cameras={flags.missing_cameras})"
    )


def score_baselines(run: RunFolder, evaluation, catalog: pd.DataFrame, *, missing_cameras: str) -> None:
    """Scores the network as it is before training, and the mean color of an image."""
    from keras_reid.evaluation import mean_color_artifact
    from keras_reid.evaluation.score import score

    print("scoring the baselines: untrained network, mean color", flush=True)
    evaluation.evaluate()
    mean_color = score(mean_color_artifact(), catalog, missing_cameras=missing_cameras).result
    scores = {"untrained": evaluation.result.to_dict(), "mean colour": mean_color.to_dict()}
    run.record_evaluation({"baselines": scores})


def score_epoch(run: RunFolder, evaluation, record, epoch: int) -> None:
    """Scores the live network as that of an epoch, counted from 1, and adds the scores to the epoch's row."""
    scores = evaluation.evaluate()
    evaluation.scored_epoch = epoch
    record.record(epoch, scores)


def begin_record(run: RunFolder, flags: command.Flags, data: TrainingData, step: int, *, precision: str) -> None:
    """Writes the run card as far as it is known, and says when a run goes on with other data."""
    from keras_reid.training.environment import environment

    dataset = "+".join(dict.fromkeys(flags.dataset))
    started_from = {"none": "from scratch", "imagenet": "from ImageNet weights (keras-cv's)"}
    facts = {
        "dataset": dataset,
        "command": command.as_command("keras_reid.train", flags, options.train_flags()),
        "flags": command.as_text(flags, absolute_paths=False),
        "seed": flags.seed,
        "steps_per_epoch": data.steps_per_epoch,
        "started_from": started_from.get(flags.backbone_weights, f"from {flags.backbone_weights}"),
        "licence_notes": license_notes(dataset),
    }
    place = {**environment(), "precision": precision}
    images = fingerprint(data.catalog, options.data_sets(flags))
    change = begin_card(run, facts, step=step, data=images, environment=place)
    if change:
        print(change, flush=True)


def keep_record(run: RunFolder) -> None:
    """Brings the curves and the run card up to date."""
    from keras_reid.training.curves import draw_curves

    if run.writes:
        draw_curves(run)
        update_card(run)


def finish(run: RunFolder, flags: command.Flags, embedder, evaluation, catalog: pd.DataFrame) -> None:
    """Ships the network of the last epoch, scores what was shipped, and marks the run as finished."""
    from keras_reid.artifacts import describe_embedder
    from keras_reid.evaluation import confidence_intervals
    from keras_reid.models import save_keras
    from keras_reid.serving import DEFAULT_FORMATS, ship

    live = evaluation.result.to_dict()
    dataset = "+".join(dict.fromkeys(flags.dataset))
    metadata = describe_embedder(embedder, dataset=dataset, scores=live)
    save_keras(embedder, run.last_model, metadata=metadata)
    options_ = {"metadata": metadata, "catalog": catalog, "reference": evaluation.score}
    paths, parities = ship(embedder, run.export, formats=DEFAULT_FORMATS, **options_)
    exports = {name: os.path.relpath(path, run.path) for name, path in paths.items()}
    scores = {name: parity["scores"] for name, parity in parities.items()}
    intervals = {name: parity["intervals"] for name, parity in parities.items()}
    summary = {
        "dataset": dataset,
        "epochs": evaluation.scored_epoch,
        "exports": exports,
        "scores": {"live": live, **scores},
        "intervals": {"live": confidence_intervals(evaluation.result), **intervals},
    }
    run.record_evaluation(summary)


def report(run: RunFolder, *, early_stop: int) -> None:
    """Prints the table of a finished run, and where everything lies."""
    from keras_reid.evaluation import scores_table

    evaluation = run.read_evaluation()
    stopped = evaluation["epochs"] == run.stopped_after(early_stop)
    why = f", stopped early: no better mAP in {early_stop} evaluations (--early_stop)" if stopped else ""
    print(f"\n{evaluation['dataset']}, after epoch {evaluation['epochs']}{why}")
    print(scores_table({**evaluation.get("baselines", {}), **evaluation["scores"]}))
    places = (run.card_text, run.curves, run.evaluation, run.metrics, run.last_model, run.best_model)
    places = [place.name for place in places if place.exists()]
    places = ", ".join([*places, *evaluation["exports"].values()])
    for line in run.read_diagnosis():
        print(f"diagnosis at {line}")
    print(f"this run is finished; all of it lies in {run.path}: {places}")


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(train, options.train_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
