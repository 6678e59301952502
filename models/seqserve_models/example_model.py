"""A model of your own: measurements of an iris flower to its species. Change it, then build it again.

seqserve check example_model.py:EXAMPLE_MODEL --input-shape 4
seqserve build example_model.py:EXAMPLE_MODEL
seqserve serve
"""

import numpy as np
from sklearn.datasets import load_iris
from torch import nn

from seqserve_models import DataOptions, Dataset, ExampleShape, ModelDefinition, Recipe, hold_out

FEATURES = 4  # length and width of sepal and petal, in centimetres
SPECIES = ("setosa", "versicolor", "virginica")


def build() -> nn.Sequential:
    """The network. A classifier ends in nn.Softmax; write the shapes beside the layers, as here."""
    return nn.Sequential(  # [n, 4]
        nn.BatchNorm1d(FEATURES),  # [n, 4] brings all features to one scale, as part of the model
        nn.Linear(FEATURES, 16),  # [n, 16]
        nn.ReLU(),  # [n, 16]
        nn.Linear(16, len(SPECIES)),  # [n, 3] logits
        nn.Softmax(dim=1),  # [n, 3] probabilities
    )


def load(options: DataOptions) -> Dataset:
    """The data. Inputs are float32 [n, 4], targets are the numbers of the classes, int64 [n].

    Here they come with scikit-learn; files of your own can be read from options.data_dir, which is
    --data-dir of the command line.
    """
    iris = load_iris()
    inputs, targets = iris.data.astype(np.float32), iris.target.astype(np.int64)
    held_out = hold_out(targets, options.seed)  # a fifth of each class, to judge by
    return Dataset(inputs[~held_out], targets[~held_out], inputs[held_out], targets[held_out])


EXAMPLE_MODEL = ModelDefinition(
    name="example_model",  # of the archive, and what clients ask for
    build=build,
    input_name="measurements",
    input_shape=(FEATURES,),  # of one example, without the batch
    output_name="probabilities",
    output_shape=(len(SPECIES),),
    labels=SPECIES,  # in the order of the outputs
    example_shapes=(ExampleShape((FEATURES,), "flat"),),  # what callers may send
    minimum=0.0,  # values beyond the range are refused; None is no bound
    maximum=10.0,
    # loss=…: cross entropy for a classification, mean squared error for task="regression".
    recipes={"iris": Recipe(load=load, epochs=100, batch_size=16, learning_rate=1e-2)},
)
