package weir

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// textEvent is an event of text, such as most of a stream are.
func textEvent(sequence int64, candidate int32, text string) (*weirv1.StreamGenerateResponse, *weirv1.DeltaEvent) {
	d := &weirv1.DeltaEvent{CandidateIndex: candidate, Piece: &weirv1.DeltaEvent_Text{Text: text}}
	return &weirv1.StreamGenerateResponse{Sequence: sequence, Event: &weirv1.StreamGenerateResponse_Delta{Delta: d}}, d
}

// alike checks that our codec writes an event as proto's does.
func alike(t interface{ Fatalf(string, ...any) }, e *weirv1.StreamGenerateResponse) {
	own, standard := Codec(), encoding.GetCodecV2(grpcproto.Name)
	want, err := standard.Marshal(e)
	if err != nil {
		t.Fatalf("%v", err)
	}
	wire, err := own.Marshal(e)
	if err != nil || !bytes.Equal(wire.Materialize(), want.Materialize()) {
		t.Fatalf("%v is %x, %v, want %x", e, wire.Materialize(), err, want.Materialize())
	}
	var read weirv1.StreamGenerateResponse
	if err := own.Unmarshal(wire, &read); err != nil || !proto.Equal(e, &read) {
		t.Fatalf("%v is read as %v, %v", e, &read, err)
	}
}

func TestTheCodecWritesTextAsProtoDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Just(strings.Repeat("编", 9000))).Draw(t, "text")
		e, _ := textEvent(rapid.Int64().Draw(t, "sequence"), rapid.Int32().Draw(t, "candidate"), text)
		if textWire(e) == nil {
			t.Fatal("it did not go the short way")
		}
		alike(t, e)
	})
}

// Also of fields that weir.v1 gets after this was written.
func TestTheCodecLosesNoField(t *testing.T) {
	all := (&weirv1.DeltaEvent{}).ProtoReflect().Descriptor().Fields()
	for i := range all.Len() {
		e, d := textEvent(7, 1, "text")
		set(t, d.ProtoReflect(), all.Get(i))
		alike(t, e)
	}
	all = (&weirv1.StreamGenerateResponse{}).ProtoReflect().Descriptor().Fields()
	for i := range all.Len() {
		e, _ := textEvent(7, 1, "text")
		set(t, e.ProtoReflect(), all.Get(i))
		alike(t, e)
	}
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1)
	e, d := textEvent(7, 1, "text")
	d.ProtoReflect().SetUnknown(unknown)
	alike(t, e)
	e, _ = textEvent(7, 1, "text")
	e.ProtoReflect().SetUnknown(unknown)
	alike(t, e)
	alike(t, &weirv1.StreamGenerateResponse{})
	alike(t, &weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Delta{}})
	e, _ = textEvent(7, 1, "\xff")
	if _, err := Codec().Marshal(e); err == nil {
		t.Error("text that is no UTF-8 was written")
	}
}

// set gives a field some value that is not nothing.
func set(t *testing.T, m protoreflect.Message, f protoreflect.FieldDescriptor) {
	t.Helper()
	switch {
	case f.IsList() && f.Message() != nil:
		m.Mutable(f).List().AppendMutable()
	case f.IsList() || f.IsMap():
		t.Fatalf("set %s here, and see that the codec writes it", f.FullName())
	case f.Message() != nil:
		m.Mutable(f)
	case f.Kind() == protoreflect.StringKind:
		m.Set(f, protoreflect.ValueOfString("x"))
	case f.Kind() == protoreflect.Int32Kind:
		m.Set(f, protoreflect.ValueOfInt32(-1))
	case f.Kind() == protoreflect.Int64Kind:
		m.Set(f, protoreflect.ValueOfInt64(-1))
	default:
		t.Fatalf("set %s here, and see that the codec writes it", f.FullName())
	}
}

func BenchmarkCodec(b *testing.B) {
	e, _ := textEvent(40, 0, "The river rises ")
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
