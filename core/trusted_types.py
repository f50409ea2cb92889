"""The types that a model file may hold besides skops' own defaults (scikit-learn's public estimators, arrays, scalars, generators).

Every name was found in a fitted model. None has a side effect when it is built or dropped. A whole package is never trusted:
NumPy's `DataSource` deletes a folder when it is dropped.
"""

DISTANCES = (
    *("Euclidean", "SEuclidean", "Manhattan", "Chebyshev", "Minkowski", "Mahalanobis", "Hamming", "Canberra", "BrayCurtis", "Jaccard"),
    *("Dice", "RogersTanimoto", "RussellRao", "SokalMichener", "SokalSneath", "Haversine"),
)
KERNELS = (
    *("CompoundKernel", "Sum", "Product", "Exponentiation", "ConstantKernel", "WhiteKernel", "RBF", "Matern", "RationalQuadratic"),
    *("ExpSineSquared", "DotProduct", "PairwiseKernel"),
)
BY_MODULE = {
    "functools": ("partial",),  # HistGradientBoosting keeps partial(check_array), and only a trusted function goes in
    "numpy": ("dtype",),
    "scipy.interpolate._bsplines": ("BSpline",),
    "scipy.sparse._csc": ("csc_array", "csc_matrix"),
    "scipy.sparse._csr": ("csr_array", "csr_matrix"),
    "sklearn._loss.loss": ("HalfTweedieLoss", "HalfTweedieLossIdentity"),
    "sklearn.calibration": ("_CalibratedClassifier", "_SigmoidCalibration", "_TemperatureScaling"),
    "sklearn.ensemble._hist_gradient_boosting.predictor": ("TreePredictor",),
    "sklearn.gaussian_process._gpc": ("_BinaryGaussianProcessClassifierLaplace",),
    "sklearn.gaussian_process.kernels": KERNELS,
    "sklearn.metrics._dist_metrics": tuple(f"{name}Distance{bits}" for name in DISTANCES for bits in (32, 64)),
    "sklearn.metrics._scorer": ("_PassthroughScorer",),
    "sklearn.model_selection._split": ("KFold", "StratifiedKFold", "TimeSeriesSplit"),
    "sklearn.multiclass": ("_ConstantPredictor",),
    "sklearn.neighbors._ball_tree": ("BallTree", "BallTree32", "BallTree64"),
    "sklearn.neighbors._kd_tree": ("KDTree", "KDTree32", "KDTree64"),
    "sklearn.neural_network._stochastic_optimizers": ("AdamOptimizer", "SGDOptimizer"),
    "sklearn.tree._tree": ("Tree",),
    "sklearn.utils._bunch": ("Bunch",),
    "sklearn.utils._metadata_requests": ("MetadataRequest", "MethodMetadataRequest"),
    "sklearn.utils.validation": ("check_array",),
    # LightGBM's trees are text, which a Booster reads.
    "collections": ("OrderedDict",),
    "lightgbm.basic": ("Booster",),
    "lightgbm.sklearn": ("LGBMClassifier", "LGBMRegressor"),
}
TRUSTED = frozenset(f"{module}.{name}" for module, names in BY_MODULE.items() for name in names)
