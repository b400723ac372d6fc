#!/usr/bin/env bash
# Starts a PostgreSQL with pgvector for a developer and says how to start the other real servers.
set -euo pipefail

postgres=$(cd "$(dirname "$0")" && pwd)/postgres.sh
dir=${OUTGROW_PG_DIR:-${TMPDIR:-/tmp}/outgrow-postgres-$(id -u)}
if [ -f "$dir/dsn" ] && [ -f "$dir/data/postmaster.pid" ]; then
	dsn=$(cat "$dir/dsn")
else
	dsn=$("$postgres" start "$dir")
	echo "$dsn" >"$dir/dsn"
fi
cat <<END
PostgreSQL with pgvector runs in $dir
  export OUTGROW_TEST_DATABASE_URL='$dsn'
  stop it:  $postgres stop $dir

The other real servers, all on 127.0.0.1 with free ports and data in a temporary folder D:
  PostgreSQL 15 (lz4)   apt install postgresql-15; OUTGROW_PG=15 $postgres start D
  PostgreSQL 18         OUTGROW_PG=18 $postgres start D
  Chroma 1.5            testdata/servers/chroma.sh start D (OUTGROW_INSTALL=1 installs it), stop D
  Qdrant 1.18           QDRANT__SERVICE__HOST=127.0.0.1 QDRANT__SERVICE__HTTP_PORT=P QDRANT__SERVICE__GRPC_PORT=G
                        QDRANT__TELEMETRY_DISABLED=true QDRANT__STORAGE__STORAGE_PATH=D/s QDRANT__STORAGE__SNAPSHOTS_PATH=D/n qdrant
  Milvus Lite 3.2       pip install milvus-lite==3.2.2; milvus-lite server --data-dir D --host 127.0.0.1 --port P
  S3                    go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
                        ROOT_ACCESS_KEY=K ROOT_SECRET_KEY=S versitygw --quiet --port 127.0.0.1:P --region us-east-1 posix D
  GCS                   go install github.com/fsouza/fake-gcs-server@v1.56.1
                        fake-gcs-server -scheme http -host 127.0.0.1 -port P -backend filesystem -filesystem-root D -public-host 127.0.0.1:P
  Azure Blob            testdata/servers/azure.sh start D (OUTGROW_INSTALL=1 installs Azurite, needs node), stop D
  Redis                 REDIS_KIND=single|sentinel|cluster testdata/servers/redis.sh start D (Debian's redis-server), stop D
  OpenTelemetry         testdata/servers/collector.sh start D (OUTGROW_INSTALL=1 builds it), stop D
  Open WebUI 0.12.4     testdata/e2e/openwebui.sh installs it and prints its Python; testdata/e2e/run.sh shows how to start it
END
