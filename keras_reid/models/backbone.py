"""Backbone: keras-cv's ResNet-50, its layers replayed into one flat graph of stock Keras layers.

Keras 3 cannot open a nested backbone, and keras-cv ignores `input_tensor=`. Therefore every layer is made again from
its configuration and called in the order of the original graph.
"""

from keras_reid.keras2 import keras, tf

BACKBONE_CHANNELS = 2048
BATCH_NORMALIZATION_EPSILON = 1.001e-5  # keras-cv and keras.applications agree, so weights move between them exactly.

# Moving averages must follow within a short run: with Keras's 0.99 they still hold 8 % of the start after 250 steps.
# 0.9 is PyTorch's default, with which the baselines of the field were trained.
BATCH_NORMALIZATION_MOMENTUM = 0.9


def resnet50_features(images, *, last_stride: int = 2, explicit_padding: bool = False, sync_batch_norm: bool = False):
    """Replays keras-cv's ResNet-50 on a tensor.

    Args:
        images: Keras tensor `[B, H, W, 3]`, already normalized.
        last_stride: as in `build_embedder`.
        explicit_padding: pad the stem on both sides (3 and 1 pixels), as Caffe, PyTorch and keras.applications do.
            keras-cv's `same` pads even sizes at the end only, which shifts the image by 3 pixels. Weights give the
            features that they were trained for only with the padding that they were trained with.
        sync_batch_norm: as in `build_embedder`.

    Returns:
        Keras tensor `[B, H / 32, W / 32, 2048]` (`/ 16` when `last_stride` is 1; rounded up), in the compute dtype of
        Keras's global dtype policy.
    """
    template = keras_cv_resnet50(last_stride=last_stride, input_shape=tuple(images.shape[1:]))
    outputs = {template.layers[0].name: images}
    for layer in template.layers[1:]:
        tensor = tf.nest.map_structure(lambda tensor: outputs[tensor.node.layer.name], layer.input)
        if explicit_padding and layer.name in _STEM_PADDING:
            name, pixels = _STEM_PADDING[layer.name]
            tensor = keras.layers.ZeroPadding2D(pixels, name=name)(tensor)
        outputs[layer.name] = _copy_of(layer, explicit_padding, sync_batch_norm)(tensor)
    return outputs[template.layers[-1].name]


def keras_cv_resnet50(*, last_stride: int = 2, input_shape: tuple = (None, None, 3)) -> keras.Model:
    """Builds keras-cv's own ResNet-50 with random weights; `ResNet50Backbone()` would ask its model hub first."""
    import keras_cv  # Slow, and prints its backend on import: only when a backbone is really built.

    return keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=[3, 4, 6, 3],
        stackwise_strides=[1, 2, 2, last_stride],
        block_type="block",
        include_rescaling=False,
        input_shape=input_shape,
    )


_STEM_PADDING = {"conv1_conv": ("conv1_pad", 3), "pool1_pool": ("pool1_pad", 1)}  # names as in keras.applications


def _copy_of(layer, explicit_padding, sync_batch_norm):
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        config["momentum"] = BATCH_NORMALIZATION_MOMENTUM
        config["synchronized"] = sync_batch_norm  # Keras leaves it out when it saves or copies: what ships is plain
    if explicit_padding and layer.name in _STEM_PADDING:
        config["padding"] = "valid"
    return type(layer).from_config(config)
