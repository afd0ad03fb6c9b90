package oip

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/weir-gateway/weir/gen/inference"
	"github.com/weir-gateway/weir/server/backend/grpcclient"
)

// Texts of any bytes come back whole from pieces cut anywhere.
func TestJoiner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := []byte(rapid.String().Draw(t, "text"))
		var j joiner
		var got strings.Builder
		for rest := all; len(rest) > 0; {
			n := rapid.IntRange(1, min(4, len(rest))).Draw(t, "n")
			piece := j.add(rest[:n])
			if !utf8.ValidString(piece) {
				t.Fatalf("%q is cut through a rune", piece)
			}
			got.WriteString(piece)
			rest = rest[n:]
		}
		got.WriteString(j.flush())
		if got.String() != string(all) {
			t.Fatalf("%q, want %q", got.String(), all)
		}
	})
}

func TestRawTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 20)).Draw(t, "texts")
		var raw []byte
		for _, b := range want {
			raw = append(binary.LittleEndian.AppendUint32(raw, uint32(len(b))), b...)
		}
		o := &output{ModelInferResponse_InferOutputTensor: &inference.ModelInferResponse_InferOutputTensor{Datatype: bytesType}, isRaw: true, raw: raw}
		got, err := o.texts()
		if err != nil || len(got) != len(want) {
			t.Fatalf("%v: %q, want %q", err, got, want)
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("%q, want %q", got, want)
			}
		}
	})
}

// Whatever a server sends is read without a panic, and what is said is text.
func FuzzRead(f *testing.F) {
	seed := func(r *inference.ModelInferResponse) {
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	tensor := func(name, datatype string) *inference.ModelInferResponse_InferOutputTensor {
		return &inference.ModelInferResponse_InferOutputTensor{Name: name, Datatype: datatype, Shape: []int64{1}}
	}
	seed(&inference.ModelInferResponse{Outputs: []*inference.ModelInferResponse_InferOutputTensor{tensor("text_output", "BYTES"), tensor("num_output_tokens", "UINT32")},
		RawOutputContents: [][]byte{{2, 0, 0, 0, 0xe6, 0xb0}, {1, 0, 0, 0}}})
	seed(&inference.ModelInferResponse{Outputs: []*inference.ModelInferResponse_InferOutputTensor{tensor("finish_reason", "BYTES"), tensor("embedding", "FP64")},
		RawOutputContents: [][]byte{{4, 0, 0, 0, 's', 't', 'o', 'p'}, {0, 0, 0, 0, 0, 0, 240, 63}}})
	c := Config{Name: "f", URL: "http://127.0.0.1:1"}.withDefaults()
	conn, err := grpcclient.New(c.grpc())
	if err != nil {
		f.Fatal(err)
	}
	b := &Backend{config: c, conn: conn}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := new(inference.ModelInferResponse)
		if proto.Unmarshal(data, r) != nil {
			return
		}
		s := &stream{backend: b, model: &model{name: "m"}}
		_ = s.read(r)
		_ = s.read(r)
		for e := s.next(); e != nil; e = s.next() {
			if e.Text == "" || !utf8.ValidString(e.Text) {
				t.Errorf("event %+v", e)
			}
		}
		_, _ = b.vectors(r, 2)
	})
}
