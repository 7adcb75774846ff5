# Rapport as an image: one static-enough program, no shell, not root.
#
#   docker build --tag rapport:dev .
#   docker build --target backup --tag rapport-backup:dev .     (k8s/components/backup)
#
# For a release, pin both bases by digest (docker buildx imagetools inspect) and publish by digest.

# The oldest Rust that builds it (Cargo.toml, rust-version), on the Debian of the final stage: the
# program links the C library that it finds there.
FROM rust:1.94-bookworm AS build
WORKDIR /build
COPY . .
# One layer: the target directory is not worth keeping. Cargo.lock decides every version.
RUN cargo build --profile dist --locked --workspace --bin rapport \
    && cp target/dist/rapport /rapport \
    && rm -rf target

# Everything that `rapport backup` needs beside the program: Postgres' own, to restore what it has
# just saved and look at it. The major version must be that of the server.
FROM postgres:17-bookworm AS backup
#checkov:skip=CKV_DOCKER_2:a job that ends is watched by its end, not by a health check
LABEL org.opencontainers.image.title="rapport-backup" \
      org.opencontainers.image.description="Backups of Rapport's databases, each restored and checked" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/rapport-dev/rapport"
COPY --from=build --chmod=0555 /rapport /usr/local/bin/rapport
ENV PG_BIN=/usr/lib/postgresql/17/bin
# Postgres' programs look their account up by its number.
RUN groupadd --gid 65532 rapport \
    && useradd --uid 65532 --gid rapport --no-create-home --home-dir /nonexistent rapport
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/rapport"]

# The last stage is what `docker build` makes: the C library, its certificates, and one program.
FROM gcr.io/distroless/cc-debian12:nonroot
#checkov:skip=CKV_DOCKER_2:Kubernetes asks by its own probes, and there is no shell for another
LABEL org.opencontainers.image.title="rapport" \
      org.opencontainers.image.description="Recognise customers, know them, judge them, bring them to the right person, and learn" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/rapport-dev/rapport"
COPY --from=build --chmod=0555 /rapport /rapport
USER 65532:65532
# RPCs, the gateway's HTTP, metrics and health.
EXPOSE 7400 7480 7490
ENTRYPOINT ["/rapport"]
