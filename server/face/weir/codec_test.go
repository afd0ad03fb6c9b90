package weir

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// event is any that a stream can have, and some that none has.
func event(t *rapid.T) *weirv1.StreamGenerateResponse {
	e := &weirv1.StreamGenerateResponse{Sequence: rapid.Int64().Draw(t, "sequence")}
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1)
	switch rapid.SampledFrom([]string{"text", "none", "done", "nil"}).Draw(t, "event") {
	case "text":
		d := &weirv1.DeltaEvent{CandidateIndex: rapid.Int32().Draw(t, "index")}
		d.Piece = &weirv1.DeltaEvent_Text{Text: rapid.OneOf(rapid.String(), rapid.Just(string(bytes.Repeat([]byte("编"), 9000)))).Draw(t, "text")}
		fill(t, d.ProtoReflect())
		if rapid.IntRange(0, 9).Draw(t, "unknown") == 0 {
			d.ProtoReflect().SetUnknown(unknown)
		}
		e.Event = &weirv1.StreamGenerateResponse_Delta{Delta: d}
	case "done":
		e.Event = &weirv1.StreamGenerateResponse_CandidateDone{CandidateDone: &weirv1.CandidateDoneEvent{CandidateIndex: 1}}
	case "nil":
		e.Event = &weirv1.StreamGenerateResponse_Delta{}
	}
	fill(t, e.ProtoReflect())
	if rapid.IntRange(0, 9).Draw(t, "unknown") == 0 {
		e.ProtoReflect().SetUnknown(unknown)
	}
	return e
}

// fill sets, now and then, a field: also one that weir.v1 gets after this was written.
func fill(t *rapid.T, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	if rapid.Bool().Draw(t, "as it is") {
		return
	}
	switch f := fields.Get(rapid.IntRange(0, fields.Len()-1).Draw(t, "field")); {
	case f.IsList() && f.Message() != nil:
		m.Mutable(f).List().AppendMutable()
	case f.Message() != nil:
		m.Mutable(f)
	case f.Kind() == protoreflect.StringKind && !f.IsList():
		m.Set(f, protoreflect.ValueOfString("x"))
	}
}

func TestTheCodecWritesWhatProtoWrites(t *testing.T) {
	own, standard := Codec(), encoding.GetCodecV2(grpcproto.Name)
	if own.Name() != standard.Name() {
		t.Fatalf("the codec is %q", own.Name())
	}
	short := 0
	rapid.Check(t, func(t *rapid.T) {
		e := event(t)
		if textWire(e) != nil {
			short++
		}
		want, err := standard.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		wire, err := own.Marshal(e)
		if err != nil || !bytes.Equal(wire.Materialize(), want.Materialize()) {
			t.Fatalf("%x, %v, want %x", wire.Materialize(), err, want.Materialize())
		}
		var read weirv1.StreamGenerateResponse
		if err := own.Unmarshal(wire, &read); err != nil || !proto.Equal(e, &read) {
			t.Fatalf("%v is read as %v, %v", e, &read, err)
		}
	})
	if short == 0 {
		t.Error("no event went the short way")
	}
	bad := &weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Delta{Delta: &weirv1.DeltaEvent{Piece: &weirv1.DeltaEvent_Text{Text: "\xff"}}}}
	if _, err := own.Marshal(bad); err == nil {
		t.Error("text that is no UTF-8 was written")
	}
}

func BenchmarkCodec(b *testing.B) {
	e := &weirv1.StreamGenerateResponse{Sequence: 40, Event: &weirv1.StreamGenerateResponse_Delta{
		Delta: &weirv1.DeltaEvent{Piece: &weirv1.DeltaEvent_Text{Text: "The river rises "}},
	}}
	for name, c := range map[string]encoding.CodecV2{"weir": Codec(), "proto": encoding.GetCodecV2(grpcproto.Name)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Marshal(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
