"""Network of a run, made from its settings: replicas and precision, the compiled trainer, the training batches."""

from __future__ import annotations

import os
from pathlib import Path

from keras_reid.data.augmentation import Augmentation
from keras_reid.data.pipeline import training_dataset
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses import build_loss
from keras_reid.models import build_embedder
from keras_reid.models.embedder import MINIMUM_SIDE
from keras_reid.models.structure import accept_other_sizes
from keras_reid.training.augmentation import build_augmentation
from keras_reid.training.cluster import Cluster
from keras_reid.training.color_changes import CHANGES
from keras_reid.training.optimizers import build_optimizer, decay_kernels_only
from keras_reid.training.phases import Phase
from keras_reid.training.precision import resolve_precision
from keras_reid.training.processor import cpu_computes_in, say_what_is_slow
from keras_reid.training.run_data import RunData
from keras_reid.training.schedules import build_schedule
from keras_reid.training.settings import Settings
from keras_reid.training.strategy import Team, build_team
from keras_reid.training.trainer import TripletTrainer

_STATISTICS_BATCHES = 16  # training batches that give tfa_swa the BatchNormalization statistics of what ships


def prepare_tensorflow(settings: Settings, cluster: Cluster) -> Team:
    """Sets seeds, determinism and precision of the process, and returns the replicas of the run.

    Raises:
        ReidError: there are more replicas than identities in a batch, or this machine lacks the strategy's devices.
    """
    if settings.replicas > settings.identities_per_batch:
        raise ReidError(
            f"replicas={settings.replicas}, expected at most identities_per_batch={settings.identities_per_batch}: "
            "each replica gets whole identities."
        )
    team = build_team(settings.strategy, cluster=cluster, replicas=settings.replicas)
    team.parts(settings.identities_per_batch, least=2 if settings.mining_scope == "replica" else 1)
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = len(tf.config.list_physical_devices("GPU"))
    policy = resolve_precision(settings.mixed_precision, gpus=gpus, cpu_has_bfloat16=cpu_computes_in("bfloat16"))
    _set_policy(policy)
    print(f"precision {policy}, {gpus or 'no'} GPU, TensorFlow {tf.__version__}", flush=True)
    say_what_is_slow([keras.mixed_precision.global_policy().compute_dtype])
    return team


def _set_policy(policy: str) -> None:
    """Sets Keras's dtype policy, without the three lines that Keras says on float16: `say_what_is_slow` takes one."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        keras.mixed_precision.set_global_policy(policy)
    finally:
        logger.setLevel(level)


def build_trainer(settings: Settings, data: RunData, *, last_model: Path | None = None) -> TripletTrainer:
    """Returns the compiled trainer. Call it in the scope of the replicas.

    Args:
        settings: of the run.
        data: of the run.
        last_model: what the run saved of its network; it knows the graph where `backbone_weights` are gone since.

    Raises:
        ReidError: contradictory settings, or weights that cannot be read.
    """
    if settings.freeze_backbone_epochs > settings.epochs:
        raise ReidError(
            f"freeze_backbone_epochs={settings.freeze_backbone_epochs}, expected at most epochs={settings.epochs}."
        )
    sizes, steps = {phase.image_size for phase in settings.phases}, data.batches.steps_per_epoch
    if len(sizes) > 1 and min(map(min, sizes)) < MINIMUM_SIDE:
        raise ReidError(f"image_size_schedule={settings.image_size_schedule}, expected at least {MINIMUM_SIDE} pixels.")
    length = {"epochs": settings.epochs, "steps_per_epoch": steps}
    decay = settings.some("warmup_epochs", "decay_epochs")
    schedule = build_schedule(settings.schedule, settings.learning_rate, **length, **decay)
    how = settings.some("weight_decay", "decayed_weights", "clip_norm")
    optimizer = build_optimizer(settings.optimizer, schedule, **length, **how)
    embedder = build_embedder(
        backbone_weights=starting_weights(settings.backbone_weights, last_model),
        last_stride=settings.phases[0].last_stride,
        **settings.some("embedding_size", "image_size", "head", "backbone", "normalize_embedding", "sync_batch_norm"),
    )
    if len(sizes) > 1:
        accept_other_sizes(embedder)
    trainer = TripletTrainer(
        embedder,
        person_ids=data.batches.person_ids,
        metric_loss_steps=(settings.metric_loss_start * steps, round(settings.metric_loss_ramp * steps)),
        augmentation=build_augmentation(**settings.some(*CHANGES, "seed")),
        ema_start_step=settings.ema_start * steps,
        **settings.some("identity_loss_weight", "label_smoothing", "center_loss_weight", "ema", "layer_learning_rates"),
    )
    if settings.decayed_weights == "kernels":
        decay_kernels_only(optimizer, trainer.trainable_variables)
    loss = build_loss(settings.loss, **settings.some("margin", "mining_scope"))
    trainer.compile(optimizer=optimizer, loss=loss, jit_compile=settings.jit_compile)
    if settings.freeze_backbone_epochs:
        trainer.freeze_backbone(settings.freeze_backbone_epochs * steps)
    return trainer


def statistics_batches(settings: Settings, data: RunData, phase: Phase) -> tf.data.Dataset | None:
    """Returns the training images from which what ships takes its BatchNormalization statistics; None without."""
    if settings.renew_batch_norm:
        plain = {"augmentation": Augmentation(0.0, 0, 0.0), "image_size": phase.image_size, "epochs": settings.epochs}
        batches = training_dataset(data.batches, **plain).take(settings.renew_batch_norm)
    elif settings.optimizer == "tfa_swa":
        batches = training_batches(settings, data, phase, cache="none").take(_STATISTICS_BATCHES)
    else:
        return None
    return batches.map(lambda images, person_ids: images)


def check_augmentation(settings: Settings) -> None:
    """Raises ReidError for a strength of the input pipeline's augmentation that is out of range."""
    Augmentation(settings.random_flip, settings.random_crop_padding, settings.random_erasing)


def starting_weights(backbone_weights: str, last_model: Path | None) -> str:
    """Returns the weights that tell the graph of a run: those it starts from, else what it saved of its network."""
    is_path = backbone_weights not in ("imagenet", "none")
    gone = is_path and not os.path.exists(backbone_weights) and last_model is not None and last_model.exists()
    return os.fspath(last_model) if gone else backbone_weights


def training_batches(
    settings: Settings,
    data: RunData,
    phase: Phase | None = None,
    *,
    start_step: int = 0,
    cache: str | None = None,
    team: Team | None = None,
) -> tf.data.Dataset:
    """Returns the batches (images, person ids) of the run from a step on: whole, or this worker's part of a team's.

    They end with the phase of the run, whose border for random crops shrinks with the images; None is the whole run as
    its last phase is.
    """
    phase = phase or settings.phases[-1]
    padding = settings.random_crop_padding * phase.image_size[0] / settings.image_height
    erasing = settings.random_erasing if phase.erases else 0.0
    return training_dataset(
        data.batches,
        image_size=phase.image_size,
        epochs=phase.end,
        augmentation=Augmentation(settings.random_flip, round(padding), erasing),
        start_step=start_step,
        cache=cache or settings.cache,
        parts=team and team.parts(settings.identities_per_batch),
        processes_on_host=team.on_this_host if team else 1,
    )
