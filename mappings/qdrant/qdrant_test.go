package qdrant

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

func TestNames(t *testing.T) {
	hex63 := strings.Repeat("0123456789abcdef", 4)[:63]
	for name, class := range map[string]string{
		"file-0c": Files, "user-memory-7": Memories, "web-search-u-1": WebSearch, hex63: HashBased, hex63 + "f": Knowledge,
		hex63[:62] + "G": Knowledge, strings.ToUpper(hex63): Knowledge, "knowledge-bases": Knowledge, "6b0d": Knowledge, "": Knowledge, "files": Knowledge, "File-1": Knowledge,
	} {
		if got := Class(name); got != class {
			t.Errorf("%q is in %s, not %s", name, got, class)
		}
		cfg := env.QdrantConfig{Prefix: "p"}
		if got := Collection(cfg, name); got != "p_"+name || IDSpace(cfg, name) != got {
			t.Errorf("%q is kept in %s", name, got)
		}
		cfg.Multitenancy = true
		if got := Collection(cfg, name); got != "p_"+class || IDSpace(cfg, name) != got {
			t.Errorf("%q is kept in %s", name, got)
		}
	}
	if BadName("open-webui_naïve name") != "" || BadName(strings.Repeat("x", 256)) == "" || BadName("a/b") == "" || BadName("a\x00") == "" {
		t.Error("names that Qdrant takes")
	}
	cfg := env.QdrantConfig{URI: "http://q:6333", Host: "q", Prefix: "p", Multitenancy: true, APIKey: "the-key"}
	if got := Describe(cfg) + Fingerprint(cfg); got != "Qdrant q:6333, prefix p, multitenancyqdrant/multitenancy/p" {
		t.Error(got)
	}
	cfg.Multitenancy = false
	if got := Fingerprint(cfg); strings.Contains(got, "q:") || got != "qdrant/plain/p" {
		t.Error(got)
	}
}

func TestIDs(t *testing.T) {
	const canonical = "6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c11"
	for _, id := range []string{canonical, strings.ToUpper(canonical), "6a2f41a3c54c4ce898fd0b0a1e5a0c11", "urn:uuid:" + canonical, "{" + canonical + "}"} {
		p, ok := ParseUUID(id)
		if _, exact := ParsePoint(id); !ok || p.String() != canonical || exact != (id == canonical) {
			t.Errorf("%s: %v, %t, %t", id, p, ok, exact)
		}
		if q, ok := PointOf(p.PB()); !ok || q != p {
			t.Errorf("%v became %v", p, q)
		}
	}
	for _, id := range []string{"", "42", "plain-id", strings.Repeat("a", 64), canonical + "0", "(" + canonical + ")", "6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c1g", "6a2f41a3c-54c-4ce8-98fd-0b0a1e5a0c11", "URN:UUID:" + canonical} {
		if p, ok := ParseUUID(id); ok {
			t.Errorf("%q is the UUID %v", id, p)
		}
	}
	for id, ok := range map[string]bool{"42": true, "0": true, "042": false, "-1": false, "18446744073709551615": true, "18446744073709551616": false} {
		p, got := ParsePoint(id)
		if got != ok || (ok && p.String() != id) {
			t.Errorf("%q: %v, %t", id, p, got)
		}
	}
	order := []string{"0", "9", "10", "18446744073709551615", "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-0000000000ff", "00000000-0000-0000-0000-000000000100",
		canonical, "ffffffff-ffff-ffff-ffff-ffffffffffff"}
	points := make([]Point, len(order))
	for i, id := range order {
		points[i], _ = ParsePoint(id)
	}
	if !slices.IsSortedFunc(points, Point.Compare) {
		t.Error("order")
	}
	for i, next := range map[int]int{3: 4, 5: 6, 1: 2} {
		if p, ok := points[i].Next(); !ok || p != points[next] {
			t.Errorf("behind %v comes %v", points[i], p)
		}
	}
	if _, ok := points[8].Next(); ok {
		t.Error("there is an id behind the last")
	}
	if cuts := Cuts(4); len(cuts) != 3 || cuts[0].String()[:4] != "3fff" || !slices.IsSortedFunc(cuts, Point.Compare) || len(Cuts(1)) != 0 || len(Cuts(0)) != 0 {
		t.Errorf("%v", Cuts(4))
	}
}

func TestValues(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": 3, "b":3.0,"c":-0.0,"d":1e5,"e":1E-7,"f":9223372036854775807,"g":-9223372036854775808}`: `{"a": 3, "b": 3.0, "c": -0.0, "d": 100000.0, "e": 1e-07, "f": 9223372036854775807, "g": -9223372036854775808}`,
		`{"big":9007199254740993,"wide":18446744073709551616,"huge":1e300}`:                            `{"big": 9007199254740993, "huge": 1e+300, "wide": 1.8446744073709552e+19}`,
		` {"a" : [ 1 , 2.50 , [ ] , { } , null , true , false ] } `:                                    `{"a": [1, 2.5, [], {}, null, true, false]}`,
		`{"a":"\u05e9\ud83d\ude00\u0000\n\"\\\/","\u00e9":"<&>"}`:                                      `{"a": "ש😀\u0000\n\"\\/", "é": "<&>"}`,
		`{"a":1,"a":2}`: `{"a": 2}`,
		`{}`:            `{}`,
		`null`:          `null`,
	} {
		v, err := Value([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		got := JSON(v)
		if string(got) != want {
			t.Errorf("%s\nbecame %s\nnot    %s", in, got, want)
		}
		if again, err := Value(got); err != nil || string(JSON(again)) != want {
			t.Errorf("a second time: %s, %v", JSON(again), err)
		}
		if !SameMetadata([]byte(in), got) || !SameMetadata(got, []byte(in)) {
			t.Errorf("%s is not the same as itself", in)
		}
	}
	for _, in := range []string{"", "{", `{"a":}`, `{"a":1}x`, `{"a":1e400}`, `NaN`, `{'a':1}`} {
		if v, err := Value([]byte(in)); err == nil {
			t.Errorf("%q became %s", in, JSON(v))
		}
	}
	if got := string(JSON(pb.NewValueDouble(math.NaN()))) + string(JSON(pb.NewValueDouble(math.Inf(1)))) + string(JSON(nil)); got != "nullnullnull" {
		t.Error(got)
	}
	for _, c := range [][2]string{{`{"a":3}`, `{"a":3.0}`}, {`{"a":1}`, `{"a":1,"b":null}`}, {`{"a":"1"}`, `{"a":1}`}, {`{"a":[1]}`, `{"a":[1,2]}`}, {`{}`, `null`}, {`{"a":true}`, `{"a":false}`},
		{`{"a":0.1}`, `{"a":0.10000000000000003}`}} {
		if SameMetadata([]byte(c[0]), []byte(c[1])) || SameMetadata([]byte(c[1]), []byte(c[0])) {
			t.Errorf("%s is the same as %s", c[0], c[1])
		}
	}
	if !SameMetadata(nil, []byte("null")) || SameMetadata(nil, []byte("{}")) {
		t.Error("no metadata")
	}
	// What Qdrant 1.18.3 gave back of these.
	for want, got := range map[string]string{"3.6125000000000004e-05": "3.6125e-05", "4.2499999999999996e-05": "4.25e-05", "0.1": "0.1", "12345.0": "12345.0"} {
		if !SameMetadata([]byte(want), []byte(got)) {
			t.Errorf("%s may not come back as %s", want, got)
		}
	}
}

// added is the point that Upsert sends, and what else the request says.
func added(t *testing.T, v *pipeline.Vector, tenant string) (*pb.PointStruct, error) {
	t.Helper()
	u := NewUpsert("coll", 10)
	if err := u.Add(v, tenant); err != nil {
		if u.Points() != 0 || u.Add(&pipeline.Vector{ID: someID}, "") != nil {
			t.Error("the request is unusable after an error")
		}
		return nil, err
	}
	var req pb.UpsertPoints
	if err := proto.Unmarshal(u.buf, &req); err != nil {
		t.Fatal(err)
	}
	if req.GetCollectionName() != "coll" || !req.GetWait() || len(req.GetPoints()) != 1 || u.Points() != 1 || len(req.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("%v", &req)
	}
	return req.GetPoints()[0], nil
}

// What is encoded by hand is what the generated code would encode.
func TestWire(t *testing.T) {
	for _, meta := range []string{`null`, `{}`, `{"a": 3, "b":3.0,"c":-0.0,"d":1e5,"f":9223372036854775807,"g":-9223372036854775808,"h":18446744073709551616}`,
		`{"long":"` + strings.Repeat("é", 300) + `","a":[1,[],{"b":[null,true,false,""]},"\u05e9\n"],"":{}}`, `{"a":1,"a":2}`} {
		text := "text"
		want, err := Value([]byte(meta))
		if err != nil {
			t.Fatal(err)
		}
		got, err := added(t, &pipeline.Vector{ID: strings.ToUpper(someID), Text: &text, Metadata: []byte(meta), Embedding: []float32{1, -0.5, 0}}, "te nant")
		if err != nil {
			t.Errorf("%s: %v", meta, err)
			continue
		}
		if whole := (&pb.PointStruct{Id: pb.NewIDUUID(someID), Vectors: pb.NewVectorsDense([]float32{1, -0.5, 0}), Payload: map[string]*pb.Value{
			TextField: pb.NewValueString(text), MetadataField: want, TenantField: pb.NewValueString("te nant")}}); !proto.Equal(whole, got) {
			t.Errorf("%v\nnot %v", got, whole)
		}
	}
	for _, meta := range []string{"", "{", `{"a":1}x`, `{"a":[{"b":1e400}]}`} {
		if got, err := added(t, &pipeline.Vector{ID: someID, Metadata: []byte(meta)}, ""); err == nil {
			t.Errorf("%q became %v", meta, got)
		}
	}
}

func TestPayload(t *testing.T) {
	text := "a\x00b"
	for _, v := range []*pipeline.Vector{
		{ID: "6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c11", Text: &text, Metadata: []byte(`{"a": 1}`), Embedding: []float32{1, 2}},
		{ID: "6a2f41a3-c54c-4ce8-98fd-0b0a1e5a0c11", Embedding: []float32{0}},
	} {
		p, err := added(t, v, "tenant")
		if err != nil || len(p.GetPayload()) != 3 || Tenant(p.GetPayload()) != "tenant" {
			t.Fatalf("%v, %v", p, err)
		}
		vectors := &pb.VectorsOutput{VectorsOptions: &pb.VectorsOutput_Vector{Vector: &pb.VectorOutput{Vector: &pb.VectorOutput_Dense{Dense: &pb.DenseVector{Data: v.Embedding}}}}}
		got, err := Decode(&pb.RetrievedPoint{Id: p.GetId(), Payload: p.GetPayload(), Vectors: vectors})
		if err != nil || fmt.Sprint(got.ID, got.Embedding, string(got.Metadata)) != fmt.Sprint(v.ID, v.Embedding, string(v.Metadata)) || (got.Text == nil) != (v.Text == nil) || (v.Text != nil && *got.Text != text) {
			t.Errorf("%+v, %v", got, err)
		}
		if p, err = added(t, v, ""); err != nil || len(p.GetPayload()) != 2 {
			t.Errorf("%v, %v", p, err)
		}
	}
	if _, err := Decode(&pb.RetrievedPoint{Id: pb.NewIDNum(7), Payload: map[string]*pb.Value{TextField: pb.NewValueInt(1)}}); err == nil {
		t.Error("a text that is a number")
	}
	if v, err := Decode(&pb.RetrievedPoint{Id: pb.NewIDNum(7)}); err != nil || v.ID != "7" || v.Text != nil || v.Metadata != nil || v.Embedding != nil {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := added(t, &pipeline.Vector{ID: "42"}, ""); err == nil {
		t.Error("an id that is no UUID")
	}
}

func TestClassify(t *testing.T) {
	for code, want := range map[codes.Code]struct {
		retry bool
		exit  int
	}{
		codes.Unavailable: {true, pipeline.ExitEnvironment}, codes.DeadlineExceeded: {true, pipeline.ExitEnvironment}, codes.ResourceExhausted: {true, pipeline.ExitEnvironment},
		codes.Internal: {true, pipeline.ExitEnvironment}, codes.Unauthenticated: {false, pipeline.ExitEnvironment}, codes.PermissionDenied: {false, pipeline.ExitEnvironment},
		codes.Unimplemented: {false, pipeline.ExitEnvironment}, codes.InvalidArgument: {false, pipeline.ExitFailed}, codes.NotFound: {false, pipeline.ExitFailed},
	} {
		err := Classify("writing", &later{status.Error(code, "text"), time.Second})
		if pipeline.IsRetryable(err) != want.retry || pipeline.ExitCode(err) != want.exit || Code(err) != code {
			t.Errorf("%v: %v", code, err)
		}
		var d pipeline.Delayed
		if !errors.As(err, &d) || d.RetryAfter() != time.Second {
			t.Errorf("%v: the time to wait is lost", code)
		}
	}
	if Classify("x", nil) != nil || !errors.Is(Classify("x", context.Canceled), context.Canceled) {
		t.Error("nil or a cancelled context")
	}
	if err := Classify("outer", Classify("inner", status.Error(codes.Unavailable, "x"))); !pipeline.IsRetryable(err) {
		t.Errorf("%v", err)
	}
}
