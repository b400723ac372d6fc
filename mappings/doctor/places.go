package doctor

import (
	"fmt"
	"strings"
	"time"

	"outgrow/mappings/env"
)

// slowDisk is how long a flushed write takes where a disk is reached over a
// network. Source: Open WebUI's documentation, performance, "Disk I/O Latency".
const slowDisk = 50 * time.Millisecond

// onFolder looks at DATA_DIR, where it is reached from here.
func onFolder(look func(Facts, *Folder) verdict) func(Facts) verdict {
	return func(f Facts) verdict {
		switch d := f.Answers.Folder; {
		case d == nil:
			return verdict{}
		case d.Down != "":
			return unknown(d.Down)
		default:
			return look(f, d)
		}
	}
}

// placeChecks look at where files lie.
func placeChecks() []check {
	return []check{
		{"D31", Must, "the object store", "a bucket in which an object can be written, read and deleted", "Open WebUI does not start, or files are gone", objectStore, false},
		{"D33", Must, "DATA_DIR", "a folder that all instances share, and may write to", "a file is there on one instance only",
			onFolder(func(f Facts, d *Folder) verdict {
				return when(d.Write != "", d.Write, "mount it for writing, for the user that Open WebUI runs as")
			}), false},
		{"D33", Must, "DATA_DIR", "on a disk: in memory it is gone with a restart", "all files are gone after a restart",
			onFolder(func(f Facts, d *Folder) verdict {
				return when(d.Volatile && f.Files.Provider == env.Local, "it lies on "+d.Type, "mount a disk or a share there")
			}), false},
		{"D33", Should, "DATA_DIR", "a share, unless all instances run on this machine", "a file is there on one instance only",
			onFolder(func(f Facts, d *Folder) verdict {
				return when(f.Replicas > 1 && f.Files.Provider == env.Local && !d.Network && !d.Volatile, "it lies on "+d.Type+", which other machines do not see", "mount one share (NFS, CephFS, EFS) on all machines, or STORAGE_PROVIDER=s3")
			}), false},
		{"D02", Must, "where webui.db lies", "on a local disk", "\"QueuePool limit reached\", the WAL pragma never comes back, /api/config takes 10 s",
			onFolder(func(f Facts, d *Folder) verdict {
				return when(d.DatabaseShared, "on "+d.Database, "DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/NAME")
			}), false},
		{"D03", Should, "how long the disk of webui.db takes to flush a write", "0.1 ms for NVMe, 10 ms for a hard disk", "every change waits, the pool runs full",
			onFolder(func(f Facts, d *Folder) verdict {
				return when(d.Database != "" && d.Fsync > slowDisk, fmt.Sprintf("%d ms", d.Fsync.Milliseconds()), "put webui.db on a local SSD, or move to PostgreSQL")
			}), false},
		{"D48", Must, "webui.db and its -wal", "both, in one folder", "the last changes are lost",
			onFolder(func(_ Facts, d *Folder) verdict {
				return when(d.Stray, "a -wal without its webui.db", "bring webui.db and webui.db-wal back into one folder")
			}), false},
	}
}

func objectStore(f Facts) verdict {
	o := f.Answers.Objects
	if o == nil {
		return verdict{}
	}
	name := map[string]string{env.S3: "S3_BUCKET_NAME and its keys", env.GCS: "GCS_BUCKET_NAME and its credentials", env.Azure: "AZURE_STORAGE_CONTAINER_NAME and its key"}[f.Files.Provider]
	if o.Down != "" {
		return verdict{found: o.Down, line: "correct " + name + ", or start the server"}
	}
	var failed []string
	for _, step := range []string{o.Write, o.Read, o.Delete} {
		if step != "" {
			failed = append(failed, step)
		}
	}
	return when(len(failed) > 0, strings.Join(failed, "; "), "let the credentials write, read and delete in the bucket")
}

// endpointChecks look at where telemetry goes.
func endpointChecks() []check {
	return []check{
		{"D57", Must, "OTEL_EXPORTER_OTLP_ENDPOINT and its METRICS and LOGS forms", "a collector that takes what is sent", "no traces, metrics or logs",
			func(f Facts) verdict {
				for _, e := range f.Answers.Telemetry {
					if e.Down != "" {
						return verdict{found: e.Name + ": " + e.Down, line: "correct " + e.Name + ", or start the collector"}
					}
					if e.Problem != "" {
						return verdict{found: e.Name + " (" + e.Protocol + "): " + e.Problem, line: e.fix()}
					}
				}
				return verdict{}
			}, false},
	}
}

// fix is what the variables of an endpoint may be wrong about.
func (e *Endpoint) fix() string {
	if e.Protocol == "http" {
		return e.Name + "=http://HOST:4318/v1/traces (the whole address, its path too: /v1/metrics, /v1/logs)"
	}
	return e.Name + "=http://HOST:4317 with OTEL_EXPORTER_OTLP_INSECURE=true, or https://"
}
