package env

import (
	"fmt"
	"strings"
	"testing"
)

const milvusBase = "VECTOR_DB=milvus\nDATABASE_URL=sqlite:////x.db\n"

func TestMilvusDefaults(t *testing.T) {
	d, err := load(t, milvusBase+"MILVUS_URI=http://m:19530\n")
	if err != nil {
		t.Fatal(err)
	}
	want := MilvusConfig{URI: "http://m:19530", Address: "m:19530", Database: "default", IndexType: "HNSW", MetricType: "COSINE", HNSWM: 16, HNSWEf: 100,
		IVFFlatNlist: 128, DiskANNDegree: 56, DiskANNSearch: 100, Prefix: "open_webui", Migrations: true}
	if d.Vector.Milvus != want {
		t.Errorf("%+v", d.Vector.Milvus)
	}
	if len(d.Warnings) > 0 {
		t.Errorf("warnings %v", d.Warnings)
	}
}

func TestMilvusAddress(t *testing.T) {
	for _, c := range []struct {
		in, address, db, token string
		tls                    bool
		warned                 string
	}{
		{"MILVUS_URI=https://zilliz.example.org", "zilliz.example.org:443", "default", "", true, ""},
		{"MILVUS_URI=https://m:19530\nMILVUS_TOKEN=s3cretpw", "m:19530", "default", "s3cretpw", true, ""},
		{"MILVUS_URI=tcp://m", "m:19530", "default", "", false, ""},
		{"MILVUS_URI=http://m\nMILVUS_TOKEN=root:s3cretpw", "m:19530", "default", "root:s3cretpw", false, "MILVUS_TOKEN"},
		{"MILVUS_URI=https://root:s3cretpw@m/kb\nMILVUS_DB=", "m:443", "kb", "root:s3cretpw", true, ""},
		{"MILVUS_URI=https://root:s3cretpw@m/kb\nMILVUS_DB=d", "m:443", "d", "root:s3cretpw", true, ""},
		{"MILVUS_URI=http://[::1]:1\nMILVUS_INDEX_TYPE=hnsw\nENABLE_MILVUS_MULTITENANCY_MODE=true", "[::1]:1", "default", "", false, "MILVUS_INDEX_TYPE"},
		{"MILVUS_URI=http://m\nMILVUS_METRIC_TYPE=l2", "m:19530", "default", "", false, "MILVUS_METRIC_TYPE"},
		{"MILVUS_URI=http://m\nMILVUS_COLLECTION_PREFIX=a", "m:19530", "default", "", false, "MILVUS_COLLECTION_PREFIX"},
	} {
		d, err := load(t, milvusBase+c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		m := d.Vector.Milvus
		if m.Address != c.address || m.Database != c.db || m.Token.Reveal() != c.token || m.TLS != c.tls {
			t.Errorf("%s: %+v", c.in, m)
		}
		found := ""
		for _, w := range d.Warnings {
			if strings.HasPrefix(w.Variable, "MILVUS_") {
				found = w.Variable
			}
		}
		if found != c.warned {
			t.Errorf("%s: a warning about %q, want %q", c.in, found, c.warned)
		}
		if s := fmt.Sprintf("%+v %v", d, d.Redact(c.in+" "+c.token[strings.IndexByte(c.token, ':')+1:])); strings.Contains(s, "s3cretpw") {
			t.Errorf("the password is shown: %s", s)
		}
	}
	d, err := load(t, milvusBase+"MILVUS_URI=http://m\nMILVUS_COLLECTION_PREFIX=open-webui-2\nENABLE_MILVUS_MULTITENANCY_MODE=True\nENABLE_DB_MIGRATIONS=false")
	if m := d.Vector.Milvus; err != nil || m.Prefix != "open_webui_2" || !m.Multitenancy || m.Migrations {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestMilvusMistakes(t *testing.T) {
	for _, c := range []struct{ in, variable, says string }{
		{"", "MILVUS_URI", "vector_db/milvus.db"},
		{"MILVUS_URI=/data/milvus.db", "MILVUS_URI", "milvus-lite server --data-dir"},
		{"MILVUS_URI=./milvus.db", "MILVUS_URI", "illegal uri"},
		{"MILVUS_URI=unix:/run/x", "MILVUS_URI", "socket"},
		{"MILVUS_URI=ftp://m", "MILVUS_URI", "http://HOST:19530"},
		{"MILVUS_URI=http://m\nMILVUS_INDEX_TYPE=GPU", "MILVUS_INDEX_TYPE", "AUTOINDEX"},
		{"MILVUS_URI=http://m\nMILVUS_METRIC_TYPE=HAMMING", "MILVUS_METRIC_TYPE", "COSINE"},
		{"MILVUS_URI=http://m\nMILVUS_HNSW_M=many", "MILVUS_HNSW_M", "many"},
		{"MILVUS_URI=https://m\nMILVUS_SERVER_PEM_PATH=/no/such/file", "MILVUS_SERVER_PEM_PATH", "OUTGROW_TO_MILVUS_SERVER_PEM_PATH"},
		{"MILVUS_URI=http://m\nENABLE_MILVUS_MULTITENANCY_MODE=true\nMILVUS_COLLECTION_PREFIX=9.x", "MILVUS_COLLECTION_PREFIX", "digit"},
	} {
		_, err := load(t, milvusBase+c.in)
		list := ConfigErrors(err)
		if len(list) != 1 || list[0].Variable != c.variable || !strings.Contains(list[0].Error(), c.says) {
			t.Errorf("%s: %v", c.in, err)
		}
	}
	_, err := load(t, milvusBase+"MILVUS_INDEX_TYPE=GPU\nMILVUS_HNSW_M=0\nMILVUS_URI=x")
	if n := len(ConfigErrors(err)); n != 3 {
		t.Errorf("%d mistakes reported of 3: %v", n, err)
	}
}
