"""Structure of an embedder from anywhere: its layers, its weights in an order that stays, and what is no embedder."""

from __future__ import annotations

from keras_reid.errors import ReidError


def layers_of(model) -> list:
    """Returns the layers of a Keras model, those inside nested models and layers too, without input layers."""
    return [layer for layer in model._flatten_layers(include_self=False) if type(layer).__name__ != "InputLayer"]


def weights_of(model) -> list:
    """Returns the weights of a Keras model in an order that stays, layer by layer.

    That of `weights` of a layer that contains others changes under Keras 2 when some of them are frozen.
    """
    return [weight for layer in model._flatten_layers() for weight in own_weights(layer)]


def own_weights(layer) -> list:
    """Returns the weights of a layer without those of the layers inside it."""
    kind = "weights" if hasattr(layer, "_trainable_weights") else "variables"  # Keras 2, or Keras 3
    return [*getattr(layer, f"_trainable_{kind}"), *getattr(layer, f"_non_trainable_{kind}")]


def last_feature_map(model, *, least_places: int = 1):
    """Returns the output `[B, h, w, C]` of the last layer with so many places that the whole embedding depends on.

    Where no layer has as many, the one with most; None where the embedding depends on no feature map.
    """
    best, most = None, 1
    for layer in reversed(model.layers):
        nodes = layer.inbound_nodes
        shape = getattr(layer.output, "shape", ()) if len(nodes) == 1 and nodes[0].parent_nodes else ()
        places = shape[1] * shape[2] if len(shape) == 4 and None not in shape[1:] else 0
        if places > most and _passes_through(model.outputs[0].node, layer):
            best, most = layer.output, places
            if places >= least_places:
                break
    return best


def _passes_through(node, layer) -> bool:
    """Whether every way from a node of the graph back to the input leads through a layer: none goes around it."""
    ahead, seen = [node], set()
    while ahead:
        node = ahead.pop()
        if node.layer is layer or id(node) in seen:
            continue
        seen.add(id(node))
        if not node.parent_nodes:
            return False
        ahead += node.parent_nodes
    return True


def accept_other_sizes(model) -> None:
    """Lets a Keras 2 model be called with images of other sizes than its input's; its weights fit them all.

    What is built anew from its configuration, as what ships is, takes one size again.
    """
    model.input_spec = [type(spec)(shape=(None, None, None, 3)) for spec in model.input_spec]


def check_embedder(model, name: str = "embedder", *, of_images: bool = True) -> None:
    """Raises ReidError, naming the model, unless it is a graph of layers from images of one size to embeddings.

    Without `of_images` it may take something else, such as features `[B, F]`; it is then trained, but not exported.
    """
    ends = [[list(tensor.shape) for tensor in getattr(model, side, None) or ()] for side in ("inputs", "outputs")]
    expected = "expected a functional or Sequential model from keras.Input((height, width, 3)) to embeddings [batch, D]"
    if not ends[0]:  # subclassed, or a Sequential without Input
        raise ReidError(f"{name} is a {type(model).__name__} without an input of a known shape: {expected}.")
    (given, *others), results = ends
    fits = not others and len(results) == 1 and len(results[0]) == 2 and None not in results[0][1:]
    if of_images or len(given) == 4:
        fits &= len(given) == 4 and given[3] == 3 and None not in given[1:]
    if not fits:
        shapes = " to ".join(", ".join(map(str, shapes)).replace("None", "any") for shapes in ends)
        raise ReidError(f"{name} goes from {shapes}: {expected}, for images of one size, which photos are resized to.")
