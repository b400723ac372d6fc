# syntax=docker/dockerfile:1
# The program and certificates, nothing else. Both images may be given with their digest, for one that is the same for ever:
#   --build-arg GO_IMAGE=golang:1.26@sha256:... --build-arg BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot@sha256:...
ARG GO_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

# Built on the machine's own platform, for any.
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=unknown
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-buildvcs=false GOCACHE=/go/cache
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY cmd cmd
COPY mappings mappings
COPY pipeline pipeline
COPY sink sink
COPY source source
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/cache \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/outgrow ./cmd/outgrow \
    && touch -d @0 /out/outgrow

FROM ${BASE_IMAGE}
COPY LICENSE /usr/share/doc/outgrow/LICENSE
COPY --from=build /out/outgrow /usr/local/bin/outgrow
# Of the base image; in words, so that Kubernetes' runAsNonRoot can tell.
USER 65532:65532
WORKDIR /move
ENTRYPOINT ["/usr/local/bin/outgrow"]
CMD ["--help"]
