# `artquant serve` in a container.
#
#   docker build --tag artquant .                              for CPUs; with --build-arg TORCH_INDEX=URL, an index that
#                                                              has torch for CPUs alone, the image is smaller
#   docker build --tag artquant:gpu --build-arg DEVICE=gpu .   for GPUs
#   docker run --publish 8000:8000 --volume /path/to/model:/model:ro artquant
#   docker run --gpus all --publish 8000:8000 --volume /path/to/model:/model:ro artquant:gpu /model --host 0.0.0.0
ARG DEVICE=cpu

FROM python:3.11-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY configs/demo configs/demo
COPY ModelZoo/demo ModelZoo/demo
COPY artquant artquant
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim AS common
ENV PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt /constraints.txt

FROM common AS cpu
ARG TORCH_INDEX=""
ENV CUDA_VISIBLE_DEVICES=""
RUN pip install --no-cache-dir --constraint /constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch

FROM common AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN pip install --no-cache-dir --constraint /constraints.txt torch

FROM ${DEVICE}
COPY --from=wheel /wheels /wheels
# The folder holds one wheel, of whatever version.
RUN set -- /wheels/*.whl && pip install --no-cache-dir --constraint /constraints.txt "$1[serve]" && rm -r /wheels
RUN useradd --create-home --uid 1000 artquant
USER 1000
WORKDIR /home/artquant
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=5m \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/v1/health', timeout=4)"]
ENTRYPOINT ["artquant", "serve"]
CMD ["/model", "--host", "0.0.0.0", "--port", "8000"]
