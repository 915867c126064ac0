"""Backbone: keras-cv's ResNet-50, its layers replayed into one flat graph of stock Keras layers.

Keras 3 cannot open a nested backbone, and keras-cv ignores `input_tensor=`. Therefore every layer is made again from
its configuration and called in the order of the original graph, with the changes that the weights of other libraries
ask for.
"""

import dataclasses
import re
from collections.abc import Mapping

from keras_reid.keras2 import keras, tf

BACKBONE_CHANNELS = 2048
STAGE_BLOCKS = (3, 4, 6, 3)
STAGE_WIDTHS = (64, 128, 256, 512)  # channels inside a block; four times as many come out
INSTANCE_NORM_STAGES = 3  # of IBN-a: all but the last, which holds what tells people apart
BATCH_NORMALIZATION_EPSILON = 1.001e-5  # keras-cv and keras.applications agree, so weights move between them exactly.
TORCH_EPSILON = 1e-5

# Moving averages must follow within a short run: with Keras's 0.99 they still hold 8 % of the start after 250 steps.
# 0.9 is PyTorch's default, with which the baselines of the field were trained.
BATCH_NORMALIZATION_MOMENTUM = 0.9

_LAST_STAGE = "v2_stack_3_block1"  # its first block


@dataclasses.dataclass(frozen=True)
class BackboneGraph:
    """What libraries compute differently in a ResNet-50; the defaults are keras-cv's.

    Weights give the features that they were trained for only in the graph that they were trained in.

    Attributes:
        explicit_padding: pad the stem on both sides (3 and 1 pixels), as Caffe, PyTorch and keras.applications do.
            keras-cv's `same` pads even sizes at the end only, which shifts the image by 3 pixels.
        stride_in_3x3: a stage begins with the stride in its 3x3 convolution, padded on both sides, and not in the 1x1
            before it: ResNet v1.5, as torchvision and timm.
        epsilon: of each BatchNormalization.
        stem_relu: whether the stem has a ReLU; reid-strong-baseline forgot it.
        pool_at_end: pad the stem's pooling at the end of even sizes only, as fast-reid's `ceil_mode`.
        instance_norm: IBN-a (Pan et al. 2018, arXiv 1807.09441): half of the first normalization in each block of the
            first three stages is by image.
    """

    explicit_padding: bool = False
    stride_in_3x3: bool = False
    epsilon: float = BATCH_NORMALIZATION_EPSILON
    stem_relu: bool = True
    pool_at_end: bool = False
    instance_norm: bool = False


KERAS_APPLICATIONS = BackboneGraph(explicit_padding=True)
RESNET_V1_5 = BackboneGraph(explicit_padding=True, stride_in_3x3=True, epsilon=TORCH_EPSILON)


def graph_of(layers: Mapping[str, Mapping]) -> BackboneGraph:
    """Returns the graph of an embedder's backbone, from the configurations of its layers by name."""
    begins = layers.get("v2_stack_1_block1_2_conv", {}).get("strides", (1, 1))
    padded = layers.get("pool1_pad", {}).get("padding", ((1, 1), (1, 1)))
    return BackboneGraph(
        explicit_padding="conv1_pad" in layers,
        stride_in_3x3=tuple(begins) == (2, 2),
        epsilon=layers.get("conv1_bn", {}).get("epsilon", BATCH_NORMALIZATION_EPSILON),
        stem_relu="conv1_relu" in layers or "conv1_bn" not in layers,
        pool_at_end=padded[0][0] == 0,
        instance_norm="v2_stack_0_block1_1_in_scale" in layers,
    )


def resnet50_features(
    images, *, last_stride: int = 2, graph: BackboneGraph = BackboneGraph(), sync_batch_norm: bool = False
):
    """Replays keras-cv's ResNet-50 on a tensor.

    Args:
        images: Keras tensor `[B, H, W, 3]`, already normalized.
        last_stride: as in `build_embedder`.
        graph: what is computed otherwise than in keras-cv.
        sync_batch_norm: as in `build_embedder`.

    Returns:
        Keras tensor `[B, H / 32, W / 32, 2048]` (`/ 16` when `last_stride` is 1; rounded up), in the compute dtype of
        Keras's global dtype policy.
    """
    template = keras_cv_resnet50(last_stride=last_stride, input_shape=tuple(images.shape[1:]))
    outputs = {template.layers[0].name: images}
    replay = _Replay(graph, (1, 2, 2, last_stride), sync_batch_norm)
    for layer in template.layers[1:]:
        tensor = tf.nest.map_structure(lambda tensor: outputs[tensor.node.layer.name], layer.input)
        outputs[layer.name] = replay(layer, tensor)
    return outputs[template.layers[-1].name]


def keras_cv_resnet50(*, last_stride: int = 2, input_shape: tuple = (None, None, 3)) -> keras.Model:
    """Builds keras-cv's own ResNet-50 with random weights; `ResNet50Backbone()` would ask its model hub first."""
    import keras_cv  # Slow, and prints its backend on import: only when a backbone is really built.

    return keras_cv.models.ResNetBackbone(
        stackwise_filters=list(STAGE_WIDTHS),
        stackwise_blocks=list(STAGE_BLOCKS),
        stackwise_strides=[1, 2, 2, last_stride],
        block_type="block",
        include_rescaling=False,
        input_shape=input_shape,
    )


def set_last_stride(model, stride: int) -> None:
    """Sets the stride of the last stage of a Keras model that `build_embedder` made; its weights fit 1 and 2.

    Functions that were traced keep theirs. A model that is built anew from the configuration has the new one.

    Args:
        model: with `last_stride=2`, or as this function left it.
        stride: 1 or 2.
    """
    # Padding on both sides, a layer of its own at stride 2, pads at stride 1 as `same` does.
    in_3x3 = any(layer.name == f"{_LAST_STAGE}_2_pad" for layer in model.layers)
    for convolution in (0, 2 if in_3x3 else 1):  # of the shortcut, and the block's that has the stride
        model.get_layer(f"{_LAST_STAGE}_{convolution}_conv").strides = (stride, stride)


_BLOCK_LAYER = re.compile(r"v2_stack_(\d)_(block\d+)_([123])_(conv|bn)")


@dataclasses.dataclass(frozen=True)
class _Replay:
    """Makes a layer of keras-cv's again and applies it to a tensor, with the changes of another graph."""

    graph: BackboneGraph
    strides: tuple  # of the stages
    synchronized: bool

    def __call__(self, layer, tensor):
        graph, config = self.graph, layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            config |= {"momentum": BATCH_NORMALIZATION_MOMENTUM, "epsilon": graph.epsilon}
            config["synchronized"] = self.synchronized  # Keras leaves it out of copies and files: what ships is plain
        if layer.name == "conv1_conv" and graph.explicit_padding:
            tensor = keras.layers.ZeroPadding2D(3, name="conv1_pad")(tensor)  # names as in keras.applications
            config["padding"] = "valid"
        if layer.name == "conv1_relu" and not graph.stem_relu:
            return tensor
        if layer.name == "pool1_pool" and graph.explicit_padding:
            return self._pooled(tensor)
        block = _BLOCK_LAYER.fullmatch(layer.name)
        if block and graph.stride_in_3x3 and block[4] == "conv":
            stride = self.strides[int(block[1])] if block[2] == "block1" else 1
            tensor = _move_stride(config, tensor, int(block[3]), stride)
        if block and graph.instance_norm and int(block[1]) < INSTANCE_NORM_STAGES and block[3] == "1":
            return _halves_of_convolution(config, tensor) if block[4] == "conv" else _normalized(config, tensor)
        return type(layer).from_config(config)(tensor)

    def _pooled(self, tensor):
        """Applies the stem's pooling, 3x3 by steps of 2, whose borders count for nothing."""
        pool = keras.layers.MaxPooling2D
        if not self.graph.stem_relu:
            # Zeros would win against negative values, and Keras pads by less than that on both sides at a stride of 1
            # only: all maxima, of which every second is kept.
            tensor = pool(3, strides=1, padding="same", name="pool1_pool")(tensor)
            return pool(1, strides=2, name="pool1_every_second")(tensor)
        padding = ((0, 1), (0, 1)) if self.graph.pool_at_end else ((1, 1), (1, 1))
        # An odd size that is padded at its end gets no further window, as in PyTorch.
        tensor = keras.layers.ZeroPadding2D(padding, name="pool1_pad")(tensor)
        return pool(3, strides=2, name="pool1_pool")(tensor)


def _move_stride(config, tensor, position, stride):
    """Puts the stride of a block from its first convolution into its second, which is then padded on both sides."""
    config["strides"] = (stride, stride) if position == 2 else (1, 1)
    if position != 2 or stride == 1:  # at a stride of 1 `same` pads both sides alike
        return tensor
    config["padding"] = "valid"
    return keras.layers.ZeroPadding2D(1, name=config["name"].replace("_conv", "_pad"))(tensor)


def _halves_of_convolution(config, tensor):
    """Applies a convolution as two, of half the channels each: no stock layer cuts a tensor by its channels."""
    half = {**config, "filters": config["filters"] // 2}
    by_image = {**half, "name": config["name"].replace("_conv", "_in_conv")}
    return [keras.layers.Conv2D.from_config(one)(tensor) for one in (by_image, half)]


def _normalized(config, halves):
    """Normalizes the first half by image, the second by batch.

    GroupNormalization would be one layer, but has five axes inside, at which TFLite fails: the values of a channel are
    normalized, and a convolution of one weight and one bias for each channel follows.
    """
    layers, name = keras.layers, config["name"].replace("_bn", "_in")
    # float32: moments would be computed in the precision of the policy.
    moments = {"axis": [1, 2], "epsilon": config["epsilon"], "center": False, "scale": False, "dtype": "float32"}
    by_image = layers.LayerNormalization(**moments, name=f"{name}_norm")(halves[0])
    by_image = layers.DepthwiseConv2D(1, depthwise_initializer="ones", name=f"{name}_scale")(by_image)
    by_batch = layers.BatchNormalization.from_config(config)(halves[1])
    return layers.Concatenate(name=config["name"].replace("_bn", "_ibn"))([by_image, by_batch])
