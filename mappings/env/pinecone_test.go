package env

import (
	"strings"
	"testing"
)

const pineconeLeast = "VECTOR_DB=pinecone\nPINECONE_API_KEY=pcsk_4Zk/Q+x\nPINECONE_ENVIRONMENT=us-east-1\n"

func TestPineconeDefaults(t *testing.T) {
	d, err := load(t, pineconeLeast)
	if err != nil {
		t.Fatal(err)
	}
	want := PineconeConfig{APIKey: "pcsk_4Zk/Q+x", Environment: "us-east-1", Index: "open-webui-index", Dimension: 1536, Metric: "cosine", Cloud: "aws"}
	if got := d.Vector.Pinecone; got != want || d.Vector.Kind != Pinecone || len(d.Warnings) > 0 {
		t.Errorf("%+v, warnings %v", got, d.Warnings)
	}
	for _, spelled := range []string{"pcsk_4Zk/Q+x", "pcsk_4Zk%2FQ%2Bx"} {
		if s := d.Redact("refused " + spelled + "."); s != "refused ***." {
			t.Errorf("the key shows: %s", s)
		}
	}
}

func TestPineconeVariables(t *testing.T) {
	d, err := load(t, pineconeLeast+"PINECONE_INDEX_NAME=ix-2\nPINECONE_DIMENSION=' 768'\nPINECONE_METRIC=DotProduct\nPINECONE_CLOUD=gcp\nPINECONE_CONTROLLER_HOST=api.example.org\n")
	if err != nil {
		t.Fatal(err)
	}
	want := PineconeConfig{APIKey: "pcsk_4Zk/Q+x", Environment: "us-east-1", Index: "ix-2", Dimension: 768, Metric: "dotproduct", Cloud: "gcp", Controller: "https://api.example.org"}
	if got := d.Vector.Pinecone; got != want {
		t.Errorf("%+v", got)
	}
	if len(d.Warnings) != 1 || d.Warnings[0].Variable != "PINECONE_METRIC" {
		t.Errorf("warnings %v", d.Warnings)
	}
}

// Every mistake is told at once, by the variable's name and never with the key.
func TestPineconeMistakes(t *testing.T) {
	_, err := load(t, "VECTOR_DB=pinecone\nPINECONE_API_KEY=\nPINECONE_INDEX_NAME=Open_WebUI\nPINECONE_DIMENSION=\nPINECONE_METRIC=l2\nPINECONE_CLOUD=hetzner\nPINECONE_CONTROLLER_HOST=ftp://x\n")
	var names []string
	for _, e := range ConfigErrors(err) {
		names = append(names, e.Variable)
		if e.Problem == "" || e.Fix == "" {
			t.Errorf("%+v says too little", e)
		}
	}
	const want = "PINECONE_API_KEY PINECONE_ENVIRONMENT PINECONE_INDEX_NAME PINECONE_CLOUD PINECONE_DIMENSION PINECONE_METRIC PINECONE_CONTROLLER_HOST"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("mistakes in %s", got)
	}
}
