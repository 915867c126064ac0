"""python -m keras_reid.train --flagfile=market.flags: trains an embedder, evaluates it, exports it, scores the exports.

Everything of the run lies in --run_dir; the same command goes on where the run stopped. Flags given later override
those of the flagfile, which is looked up as given and then in configs/.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import pandas as pd

from keras_reid import options
from keras_reid.data import describe, sampler_labels, steps_per_epoch, write_synthetic
from keras_reid.data.doctor import check_catalog
from keras_reid.data.findings import warnings_or_refusal
from keras_reid.data.places import is_remote, list_folder
from keras_reid.data.training_sets import describe_sets, read_training_sets, take_part
from keras_reid.errors import ReidError
from keras_reid.interrupts import Interrupted
from keras_reid.training.run_folder import RunFolder


def train(flags: options.Flags) -> None:
    # --- Data and run folder: all that can be checked before TensorFlow is loaded.
    options.required(flags, "data_dir", "run_dir")
    run, sets, text = RunFolder(flags.run_dir), options.data_sets(flags), options.as_text(flags)
    defaults = options.as_text(options.train_flags())
    run.check(text, resume=flags.resume, allow_flag_changes=flags.allow_flag_changes, defaults=defaults)
    render_synthetic(sets, flags)
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
    total_steps = steps * flags.epochs
    print(f"an epoch is {steps} steps of {P} x {K} images; {flags.epochs} epochs are {total_steps} steps", flush=True)
    if run.read_evaluation().get("epochs") == flags.epochs:
        return report(run)

    # --- Model, loss and optimizer.
    from keras_reid.data.augmentation import Augmentation
    from keras_reid.data.images import raise_for_undecodable
    from keras_reid.data.pipeline import training_dataset
    from keras_reid.evaluation import RetrievalEvaluation
    from keras_reid.keras2 import keras, tf
    from keras_reid.losses import build_loss
    from keras_reid.models import build_embedder
    from keras_reid.training import Checkpoints, TripletTrainer, build_optimizer, resolve_precision
    from keras_reid.training.augmentation import build_augmentation
    from keras_reid.training.callbacks import Progress, RecordEpoch, RecordEvaluation
    from keras_reid.training.diagnosis import CollapseDoctor
    from keras_reid.training.optimizers import build_schedule
    from keras_reid.training.precision import cpu_computes_in_bfloat16

    keras.utils.set_random_seed(flags.seed)
    if flags.deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = len(tf.config.list_physical_devices("GPU"))
    policy = resolve_precision(flags.mixed_precision, gpus=gpus, cpu_has_bfloat16=cpu_computes_in_bfloat16())
    keras.mixed_precision.set_global_policy(policy)
    loss = build_loss(flags.loss, margin=flags.margin, mining_scope=flags.mining_scope)
    print(f"precision {policy}, {gpus or 'no'} GPU, TensorFlow {tf.__version__}", flush=True)
    augmentation = Augmentation(flags.random_flip, flags.random_crop_padding, flags.random_erasing)
    schedule = build_schedule(flags.schedule, flags.learning_rate, total_steps=total_steps)
    image_size = (flags.image_height, flags.image_width)
    trainer = TripletTrainer(
        build_embedder(
            embedding_size=flags.embedding_size,
            image_size=image_size,
            head=flags.head,
            last_stride=int(flags.last_stride),
            backbone_weights=flags.backbone_weights,
            normalize_embedding=flags.normalize_embedding,
        ),
        person_ids=images.person_id,
        identity_loss_weight=flags.identity_loss_weight,
        label_smoothing=flags.label_smoothing,
        center_loss_weight=flags.center_loss_weight,
        augmentation=build_augmentation(
            **options.given(flags, "color_jitter", "rand_augment", "random_grayscale", "random_blur", "seed")
        ),
    )
    trainer.compile(
        optimizer=build_optimizer(flags.optimizer, schedule, weight_decay=flags.weight_decay),
        loss=loss,
    )

    checkpoints = Checkpoints(run.checkpoints, trainer)
    step = checkpoints.restore_newest()
    if step == 0 and (run.last_model.exists() or flags.resume == "required"):
        raise ReidError(f"{flags.run_dir!r} has no checkpoint to go on from: restore it, or set a new --run_dir.")
    if step > total_steps:
        raise ReidError(f"--epochs={flags.epochs}, but the run has made {step // steps} epochs: give at least as many.")
    if step:
        print(f"going on after step {step} of {total_steps}", flush=True)

    # --- From here on the folder is this run's.
    run.begin(text)
    rules = options.given(flags, "missing_cameras", "batch_size")
    evaluation = RetrievalEvaluation(catalog, every=flags.evaluate_every, **rules)
    evaluation.set_model(trainer)
    progress = Progress(first_step=step, total_steps=total_steps, steps_per_epoch=steps, batch_size=P * K)
    doctor = CollapseDoctor(identities_per_batch=P, images_per_identity=K, first_step=step, run=run)
    record = RecordEvaluation(run, trainer.embedder)
    try:
        if step == 0 and flags.score_baselines:
            score_baselines(run, evaluation, catalog, missing_cameras=flags.missing_cameras)
        if step and step % steps == 0 and evaluation.is_due(step // steps - 1) and "val_top1" not in run.last_row():
            score_epoch(run, evaluation, record, step // steps)  # it stopped between the epoch and its scores
        while progress.step < total_steps:
            # A run that stopped inside an epoch first makes the rest of it.
            epoch, made = divmod(progress.step, steps)
            dataset = training_dataset(
                images.image_path,
                images.person_id,
                image_size=image_size,
                identities_per_batch=P,
                images_per_identity=K,
                epochs=flags.epochs,
                seed=flags.seed,
                augmentation=augmentation,
                start_step=progress.step,
                cache=flags.cache,
                **labels,
            )
            trainer.fit(
                dataset,
                initial_epoch=epoch,
                epochs=epoch + 1 if made else flags.epochs,
                steps_per_epoch=steps - made,
                callbacks=[
                    doctor,
                    progress,
                    RecordEpoch(run, checkpoints, progress),
                    evaluation,
                    record,
                    keras.callbacks.TensorBoard(run.tensorboard, write_graph=False),
                ],
                verbose=0,
            )
        finish(run, flags, trainer, evaluation, record, catalog)
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError) as error:
        raise_for_undecodable(list(images.image_path), error)
    except Interrupted:
        progress.close()
        if progress.step:
            checkpoints.save(progress.step)
        print(f"stopped after step {progress.step} of {total_steps}: the same command goes on from there.")
        raise
    finally:
        progress.close()
    report(run)


def render_synthetic(sets: Sequence[tuple[str, str]], flags: options.Flags) -> None:
    """Renders each synthetic data set that is not there yet."""
    for dataset, folder in sets:
        if dataset != "synthetic" or is_remote(folder) or list_folder(folder):
            continue
        print(f"rendering {flags.synthetic_identities} people into {folder}", flush=True)
        write_synthetic(
            folder,
            identities=flags.synthetic_identities,
            cameras=flags.synthetic_cameras,
            images_per_camera=flags.synthetic_images_per_camera,
            seed=flags.seed,
        )


def about_cameras(catalog: pd.DataFrame, flags: options.Flags) -> str:
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
    """Scores the network as it is before training, and the mean colour of an image."""
    from keras_reid.evaluation import evaluate_artifact, mean_colour_artifact

    print("scoring the baselines: untrained network, mean colour", flush=True)
    evaluation.evaluate()
    mean_colour = evaluate_artifact(mean_colour_artifact(), catalog, missing_cameras=missing_cameras)
    scores = {"untrained": evaluation.result.to_dict(), "mean colour": mean_colour.to_dict()}
    run.record_evaluation({"baselines": scores})


def score_epoch(run: RunFolder, evaluation, record, epoch: int) -> None:
    """Scores the live network as that of an epoch, counted from 1, and adds the scores to the epoch's row."""
    scores = evaluation.evaluate()
    evaluation.scored_epoch = epoch
    if run.last_row().get("epoch") == epoch:
        record.record({**run.last_row(), **scores})


def finish(run: RunFolder, flags: options.Flags, trainer, evaluation, record, catalog: pd.DataFrame) -> None:
    """Scores the network of the last epoch, live and as shipped, and marks the run as finished."""
    from keras_reid.artifacts import describe_embedder
    from keras_reid.models import rebuild_in_float32, save_keras
    from keras_reid.serving import DEFAULT_FORMATS, ship

    if evaluation.scored_epoch != flags.epochs:
        score_epoch(run, evaluation, record, flags.epochs)
    live = evaluation.result.to_dict()
    embedder = rebuild_in_float32(trainer.embedder)
    dataset = "+".join(dict.fromkeys(flags.dataset))
    metadata = describe_embedder(embedder, dataset=dataset, scores=live)
    save_keras(embedder, run.last_model, metadata=metadata)
    options_ = {"metadata": metadata, "catalog": catalog, "live": evaluation}
    paths, parities = ship(embedder, run.export, formats=DEFAULT_FORMATS, **options_)
    exports = {name: os.path.relpath(path, run.path) for name, path in paths.items()}
    scores = {name: parity["scores"] for name, parity in parities.items()}
    summary = {"dataset": dataset, "epochs": flags.epochs, "exports": exports, "scores": {"live": live, **scores}}
    run.record_evaluation(summary)


def report(run: RunFolder) -> None:
    """Prints the table of a finished run, and where everything lies."""
    from keras_reid.evaluation import scores_table

    evaluation = run.read_evaluation()
    print(f"\n{evaluation['dataset']}, after epoch {evaluation['epochs']}")
    print(scores_table({**evaluation.get("baselines", {}), **evaluation["scores"]}))
    places = [place.name for place in (run.evaluation, run.metrics, run.last_model, run.best_model)]
    places = ", ".join([*places, *evaluation["exports"].values()])
    for line in run.read_diagnosis():
        print(f"diagnosis at {line}")
    print(f"this run is finished; all of it lies in {run.path}: {places}")


def main(argv: Sequence[str] | None = None) -> int:
    return options.run_command(train, options.train_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
