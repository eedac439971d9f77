# syntax=docker/dockerfile:1
# Two images out of one file:
#   docker build -t trivium .
#   docker build -t trivium-models --target models --build-context bundles=$HOME/.cache/trivium/models .
# The second holds bundles, and a pod's init container copies them to where the model host reads them, so that nothing is
# downloaded when a service starts.

FROM rust:1.95-bookworm AS chef
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends protobuf-compiler \
  && rm -rf /var/lib/apt/lists/*
RUN cargo install cargo-chef --locked --version 0.1.78
WORKDIR /src

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

# A layer with all dependencies, which takes most of an hour and is made anew only when a manifest or the lock file
# changes. The flags are those of every build of this project: others would compile Lance a second time.
FROM chef AS build
COPY --from=plan /src/recipe.json recipe.json
COPY rust-toolchain.toml rust-toolchain.toml
COPY .cargo .cargo
RUN cargo chef cook --release --locked --workspace --recipe-path recipe.json
COPY . .
# What the base image below does not have must not be needed: it ends the build here instead of the pod's start.
RUN cargo build --workspace --release --locked --bin trivium \
  && ldd target/release/trivium > needed \
  && if grep -vE 'linux-vdso|ld-linux|libc\.so|libm\.so|libgcc_s\.so' needed; then exit 1; fi \
  && mkdir /empty

# In place of this stage comes the folder that --build-context bundles=... names.
FROM scratch AS bundles

FROM busybox:1.37-musl AS models
COPY --from=bundles --chown=65532:65532 . /models
USER 65532:65532
CMD ["cp", "-R", "/models/.", "/target"]

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/trivium /usr/local/bin/trivium
# Folders for volumes, which take over who owns them.
COPY --from=build --chown=65532:65532 /empty /var/lib/trivium
COPY --from=build --chown=65532:65532 /empty /models
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/trivium"]
CMD ["--help"]
