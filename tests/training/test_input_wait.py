"""How long a step waits for its batch, whether Keras fetches it in a compiled step or not."""

import time

import pytest

from keras_reid.keras2 import tf
from keras_reid.training.progress import Progress
from tests.training.test_trainer import PERSON_IDS, compiled, images


def slow_batches(seconds: float) -> tf.data.Dataset:
    def wait(batch):
        time.sleep(seconds)
        return batch

    def late(batch, person_ids):
        return tf.ensure_shape(tf.numpy_function(wait, [batch], tf.uint8), [12, 32, 16, 3]), person_ids

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # no batch is made while a step runs
    return tf.data.Dataset.from_tensors((images(), PERSON_IDS)).repeat().map(late).with_options(options)


def fit(batches, steps=6, **compile_options) -> dict:
    progress = Progress(first_step=0, total_steps=steps, steps_per_epoch=steps, batch_size=12)
    trainer = compiled(**compile_options)
    trainer.fit(batches, steps_per_epoch=steps, verbose=0, callbacks=[progress])
    return progress.epoch_times()


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_steps_that_wait_for_a_slow_input_say_so(run_eagerly):
    # Long beside a step, also on a busy machine; the first of the four does not count.
    times = fit(slow_batches(1.0), steps=4, run_eagerly=run_eagerly)
    assert 0.6 < times["waiting_share"] <= 1.0
    assert times["seconds_per_step"] > 0.25


def test_steps_that_have_their_batch_at_once_do_not_wait():
    # The step itself sleeps: on a busy machine, too, it takes longer than to fetch a batch from memory.
    trainer = compiled(run_eagerly=True)
    step = trainer.train_step
    trainer.train_step = lambda data: (time.sleep(0.1), step(data))[1]
    progress = Progress(first_step=0, total_steps=6, steps_per_epoch=6, batch_size=12)
    batches = tf.data.Dataset.from_tensors((images(), PERSON_IDS)).cache().repeat()
    trainer.fit(batches, steps_per_epoch=6, verbose=0, callbacks=[progress])
    assert 0 < trainer.seconds_waiting < 0.1
    assert progress.epoch_times()["waiting_share"] < 0.1


def test_several_steps_in_one_execution_are_all_counted():
    trainer = compiled(steps_per_execution=3)
    trainer.fit(slow_batches(0.1), steps_per_epoch=6, verbose=0)
    assert 0.5 < trainer.seconds_waiting < 2.0  # 6 batches of 0.1 s; of the two executions' last ones alone 0.2 s
