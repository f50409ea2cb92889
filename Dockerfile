# The image of the steps of every pipeline and of the model server; the target `spark` is the same with Spark. Only the last layers change with the code.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS uv
ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never PYC_INVALIDATION_MODE=unchecked-hash
RUN python3 -m venv /uv && /uv/bin/pip install --quiet --no-cache-dir "uv>=0.9,<1"
WORKDIR /app
COPY pyproject.toml uv.lock ./

FROM uv AS environment
ARG EXTRAS=""
RUN /uv/bin/uv sync --locked --no-default-groups $(for extra in $EXTRAS; do echo --extra $extra; done) --no-install-project --python "$(command -v python3)" \
 && find /opt/venv -type d -name tests -prune -exec rm -rf {} + \
 && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM ${PYTHON_IMAGE} AS code
WORKDIR /app
COPY core core
COPY components components
COPY serving serving
COPY usecases usecases
COPY local local
COPY k8s/base/serving k8s/base/serving
RUN python3 -m compileall -q --invalidation-mode unchecked-hash .

FROM ${PYTHON_IMAGE} AS runtime
RUN cd / && rm -rf usr/lib/python3*/ensurepip usr/local/lib/python3*/ensurepip usr/local/lib/python3*/site-packages/* usr/local/bin/pip* usr/local/bin/wheel \
    usr/lib/python3/dist-packages usr/bin/pip* \
 && python3 -m compileall -q --invalidation-mode unchecked-hash "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" # 0.3 s of each start
COPY --from=environment /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp MLFLOW_DISABLE_TELEMETRY=true \
    USER=mlops LOGNAME=mlops GIT_PYTHON_REFRESH=quiet
WORKDIR /app
CMD ["python", "-m", "serving"]
LABEL org.opencontainers.image.title="kubeflow-mlops-template" \
      org.opencontainers.image.description="Steps and model server" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM ${PYTHON_IMAGE} AS jars
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends maven >/dev/null
COPY components/transform/engines/spark/pom.xml /
RUN mvn -q -B -f /pom.xml dependency:copy-dependencies -DoutputDirectory=/jars

FROM uv AS packages
RUN /uv/bin/uv export --locked --no-default-groups --extra spark --no-emit-project --no-hashes --quiet | grep -E "^(pyspark|py4j)==" >/packages.txt \
 && /uv/bin/uv pip install --quiet --no-deps --target /opt/spark --python /uv/bin/python -r /packages.txt

FROM runtime AS java
USER 0:0
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends default-jre-headless >/dev/null && rm -rf /var/lib/apt/lists/* \
 && echo "mlops:x:10001:10001::/tmp:/usr/sbin/nologin" >>/etc/passwd # Hadoop wants a name for its user

FROM java AS spark
COPY --from=packages /opt/spark /opt/spark
COPY --from=jars /jars /opt/spark/pyspark/jars
ENV PYTHONPATH=/app:/opt/spark
COPY --from=code /app /app
USER 10001:10001
ARG GIT_SHA=""
ARG IMAGE=""
ENV GIT_SHA=$GIT_SHA IMAGE=$IMAGE
LABEL org.opencontainers.image.revision=$GIT_SHA

FROM runtime
COPY --from=code /app /app
USER 10001:10001
ARG GIT_SHA=""
ARG IMAGE=""
ENV GIT_SHA=$GIT_SHA IMAGE=$IMAGE
LABEL org.opencontainers.image.revision=$GIT_SHA
