"""keyfold's package; every pinned version of a working environment is in conf/constraints.txt."""

from setuptools import find_packages, setup

SPARK = ["pyspark==4.1.4", "delta-spark==4.4.0"]
TORCH = ["torch>=2.13,<2.14", "torchvision>=0.28,<0.29", "safetensors>=0.5", "tensorboard>=2.21"]

setup(
    name="keyfold",
    version="0.2.0",
    description="Machine-learning design patterns as conf-driven batch jobs on Spark or in one process, keyed end to end",
    license="Apache-2.0",
    package_dir={"": "lib"},
    packages=find_packages("lib"),
    package_data={"keyfold": ["py.typed", "reporting/*.j2", "reporting/*.js", "models/*.json"]},
    entry_points={"console_scripts": ["keyfold=keyfold.cli.main:main"]},
    python_requires=">=3.11,<3.13",
    install_requires=[
        "mlflow>=3.17,<4",
        "pandas>=2.3,<3",
        "numpy>=2,<3",
        "pyarrow>=20",
        "scikit-learn>=1.9,<1.10",
        "skops>=0.16",
        "tzdata>=2025.1",  # the rules of time zones, the same on every machine
        "pydantic>=2.14,<3",
        "PyYAML>=6",
        "xxhash>=3.5",
        "Pillow>=12",
        "matplotlib>=3.10",
        "Jinja2>=3.1",
        "deltalake>=1.6",  # reads the tables without Spark
        "duckdb>=2",  # sorts, groups and joins in the embedded engine
        "narwhals>=2.29",  # one expression API for DuckDB and Spark
    ],
    extras_require={
        # The engine `spark`; not needed on a managed cluster, which brings its own Spark.
        "spark": SPARK,
        "local": SPARK,  # its former name
        # Networks (`train.model.torch`); over several processes, for which spark-submit.sh builds Horovod itself, too.
        "torch": TORCH,
        "horovod": [*TORCH, "psutil>=6"],
        # Trials that choose a model's parameters (`train.tune`).
        "tune": ["optuna>=5,<6"],
        # New rows of rare classes by SMOTE (`train.rebalance`).
        "imbalance": ["imbalanced-learn>=0.14,<0.15"],
        "dev": [
            "imbalanced-learn>=0.14,<0.15",
            "optuna>=5,<6",
            "pytest>=9",
            "pytest-xdist>=3.8",
            "hypothesis>=6.170",
            "polars>=2",  # readers of the tables, beside Spark and deltalake
            "feast>=0.67",  # reads our feature views in the tests
            "nbclient>=0.11",
            "ipykernel>=7",
            "ruff>=0.17",
            "import-linter>=2.17",
            "mypy>=2.4",
            "pre-commit>=4",
            "types-PyYAML",
            "pandas-stubs",
            "pyspark[connect]==4.1.4",
        ],
    },
)
