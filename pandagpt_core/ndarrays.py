"""NumPy's arrays by the numbers that they hold."""

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
AnyArray = npt.NDArray[np.generic]
