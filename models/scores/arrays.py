"""Types of arrays that the scores share."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

#: Standard deviation of normal noise over its median absolute deviation.
MAD_TO_SIGMA = 1.4826
