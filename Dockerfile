# Training image: TensorFlow 2.15 with its GPU libraries, and this package. It was not built or run by its authors, who had
# neither Docker nor a GPU at hand: see docs/machines.md.
#
#   docker build -t keras-reid .
#   docker run --rm --gpus all -v "$PWD/data:/work/data" -v "$PWD/runs:/work/runs" keras-reid \
#     python -m keras_reid.train --flagfile=market.flags --data_dir=data/Market-1501-v15.09.15
#
# The image has Python 3.11 and the CUDA libraries of TensorFlow 2.15, so pip brings the versions of stack 1.
FROM tensorflow/tensorflow:2.15.0-gpu

# TensorFlow's fast kernels, which it leaves off on CPUs without AVX512-VNNI; `docker run -e TF_ENABLE_ONEDNN_OPTS=0`
# turns them off.
ENV TF_ENABLE_ONEDNN_OPTS=1
WORKDIR /opt/keras_reid
# The pinned versions first: they change less often than the code.
COPY requirements.txt ./
# The image's own system packages lie where pip cannot uninstall them.
RUN python -m pip install --no-cache-dir --ignore-installed --requirement requirements.txt
COPY setup.py pyproject.toml README.md LICENSE ./
COPY configs configs
COPY keras_reid keras_reid
RUN python -m pip install --no-cache-dir --no-deps .

WORKDIR /work
CMD ["python", "-m", "keras_reid.train", "--help"]
