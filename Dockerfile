# The image of `floe-render check --job`: the static program and nothing else. The authorities that it trusts are built in.
#
#   docker build --tag registry.example.com/floe-render:0.1.0 .
FROM docker.io/library/rust:1.95-alpine AS build
RUN apk add --no-cache gcc musl-dev
WORKDIR /build
COPY Cargo.toml Cargo.lock build.rs ./
COPY benches benches
COPY charts charts
COPY schemas schemas
COPY src src
COPY templates templates
RUN cargo build --locked --release --bin floe-render

FROM scratch
COPY --from=build /build/target/release/floe-render /usr/local/bin/floe-render
COPY LICENSE /usr/share/doc/floe-render/LICENSE
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/floe-render"]
