"""Metadata, dependencies and package data. Detectron2 comes by icpc_d2/install_detectron2.py, which says why."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# What Detectron2 imports, with upstream's own ranges. It does not bring them along when it comes without its metadata.
DETECTRON2_RUNTIME = [
    "cloudpickle",
    "fvcore>=0.1.5,<0.1.6",
    "hydra-core>=1.1",
    "iopath>=0.1.7,<0.2",
    "matplotlib>=3.6",
    "omegaconf>=2.1,<2.4",
    "packaging",
    "pycocotools>=2.0.2",
    "tabulate",
    "tensorboard",
    "termcolor>=1.1",
    "tqdm>4.29.0",
    "yacs>=0.1.8",
]

# MATLAB's files up to v7, and v7.3.
MAT = ["scipy>=1.10", "h5py>=3.8"]
# t-SNE.
FIGURES = ["scikit-learn>=1.3"]

# ONNX files, written and run.
EXPORT = ["onnx>=1.17", "onnxruntime>=1.20", "onnxscript>=0.5"]

# Ray Data, for `icpc predict --engine ray`. No part of "dev" either: it is large, and few need it.
RAY = ["ray[data]>=2.44,<3"]

# H.264 in MP4, which OpenCV's builds without system libraries cannot write.
VIDEO = ["av>=13"]
# The web page. Gradio 6.31 does not take Pillow 13 yet, so that it is no part of "dev": all else is tested with that.
PAGE = ["gradio>=6.31,<7"]

setup(
    name="icpc_d2",
    version="0.1.0",
    description="ICPC: instance-conditioned prompting with contrastive learning for semantic segmentation",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    # The configs lie beside the package, where Detectron2's projects have them, and are installed as icpc_d2/configs.
    packages=[*find_packages(include=["icpc_d2", "icpc_d2.*"]), "icpc_d2.configs"],
    package_dir={"icpc_d2.configs": "configs"},
    py_modules=["icpc_cli"],
    entry_points={"console_scripts": ["icpc = icpc_cli:main"]},
    package_data={
        "icpc_d2.configs": ["**/*.yaml", "lazy/**/*.py"],
        "icpc_d2.checkpoint": ["shipped/*"],
        "icpc_d2.data": ["classes/*.txt", "shared_classes/*.txt"],
        "icpc_d2.modeling": ["architectures/*.json"],
        "icpc_d2.tools.config_table": ["*.csv"],
    },
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        # The tests pass with 2.32.0, 3.0.0 and 3.3.0; a new major version may rename parameters, which we rely upon.
        "open_clip_torch>=2.32,<4",
        # open_clip brings it along; we resize position embeddings by it.
        "timm>=1.0",
        # PyTorch brings it along; `icpc predict` reads addresses by it.
        "fsspec>=2023.6",
        "numpy>=1.24",
        # The variant that needs no system libraries (libGL): Detectron2 and we only draw into arrays.
        "opencv-python-headless>=4.6",
        "pillow>=9.4",
        "pyyaml>=6.0",
        "safetensors>=0.4",
        # open_clip brings along the first, torch the second; downloads of weights go through them.
        "huggingface_hub>=0.25,<3",
        "filelock>=3.12",
        *DETECTRON2_RUNTIME,
    ],
    extras_require={
        "mat": MAT,  # to prepare COCO-Stuff10k and Pascal Context
        "figures": FIGURES,
        "demo": [*VIDEO, *PAGE],
        "browser": [*PAGE, "playwright>=1.50"],  # to test the web page
        "wandb": ["wandb>=0.17"],
        "export": EXPORT,
        "ray": RAY,
        "dev": [
            *EXPORT,
            *MAT,
            *FIGURES,
            *VIDEO,
            "hypothesis>=6.100",
            "pytest>=8",
            "pytest-xdist>=3.5",
            # Exact, because what the formatter says differs between releases.
            "ruff==0.17.6",
            "setuptools>=70.1",  # builds wheels by itself, for the test of ours
        ],
    },
)
